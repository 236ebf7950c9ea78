"""Finding what is there twice: exactly, in other clothes, or almost.

Long examples are compared by the share of three-word runs they have in common (Jaccard). Only examples that share
one of their rarest runs are compared at all: two sets with a Jaccard similarity of at least t share one of the first
n - ceil(t·n) + 1 elements in any common order (prefix filtering; Chaudhuri et al. 2006), and rarest-first makes those
lists short.

Rows written from a template differ in one word and mean another thing. So figures, names and questions must agree,
and either the question or a whole answer must agree word for word.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator

from appliance.data.example import Example
from appliance.data.likeness import answer_key, facts, shingles, whole_text, word_key

THRESHOLD = 0.95
"""Jaccard similarity of three-word runs from which long examples are the same."""
FEWEST_WORDS = 40
"""Shorter examples are near-duplicates only when all their words agree: one word changed is another example."""
_COUNTERS = 1 << 20


class Rarity:
    """How often each three-word run occurs, roughly, in 4 MB whatever the size of the data."""

    def __init__(self) -> None:
        self._counts = array("I", bytes(4 * _COUNTERS))

    def add(self, example: Example) -> None:
        """Count the runs of one example."""
        if not _is_long(example):
            return
        for run in shingles(example):
            self._counts[run % _COUNTERS] += 1

    def rarest_first(self, runs: set[int]) -> list[int]:
        """The runs in an order that is the same for all examples."""
        return sorted(runs, key=lambda run: (self._counts[run % _COUNTERS], run))


class ExactDuplicates:
    """Which row first had this content."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}

    def first(self, example: Example) -> int | None:
        """The earlier row that is identical, or None, and this one is remembered."""
        row = self._rows.setdefault(_number(example.content_key()), example.row)
        return None if row == example.row else row


class NearDuplicates:
    """Which earlier row says the same.

    What is remembered of a row is where it lies and which rare runs it has; it is read again to be compared.
    """

    def __init__(self, rarity: Rarity, lookup: Callable[[int], Example]) -> None:
        self._rarity = rarity
        self._lookup = lookup
        self._words: dict[int, int] = {}
        # Places by run: the head of each bucket's chain; for each link the next one, the run's upper half, the place.
        self._heads = array("I", bytes(4 * _COUNTERS))
        self._links = array("I", [0])
        self._checks = array("I", [0])
        self._places = array("Q", [0])

    def first(self, example: Example, place: int) -> int | None:
        """The earlier row that says the same, or None; then ``lookup(place)`` will be this one."""
        key = _number(word_key(example))
        if key in self._words:
            return self._words[key]
        found = self._alike(example, place)
        if found is None:
            self._words[key] = example.row
        return found

    def _alike(self, example: Example, place: int) -> int | None:
        if not _is_long(example):
            return None
        runs = shingles(example)
        if len(runs) < FEWEST_WORDS - 2:
            return None
        count = len(runs) - math.ceil(THRESHOLD * len(runs)) + 1
        prefix = self._rarity.rarest_first(runs)[:count]
        for candidate in sorted({place for run in prefix for place in self._places_of(run)}):
            other = self._lookup(candidate)
            if _agree(example, other) and _jaccard(runs, shingles(other)) >= THRESHOLD:
                return other.row
        for run in prefix:
            bucket = run % _COUNTERS
            self._links.append(self._heads[bucket])
            self._checks.append(run >> 32)
            self._places.append(place)
            self._heads[bucket] = len(self._links) - 1
        return None

    def _places_of(self, run: int) -> Iterator[int]:
        """Where the examples lie that have this run among their rarest."""
        check = run >> 32
        link = self._heads[run % _COUNTERS]
        while link:
            if self._checks[link] == check:
                yield self._places[link]
            link = self._links[link]


def _agree(example: Example, other: Example) -> bool:
    same = example.group == other.group or answer_key(example) == answer_key(other)
    return same and facts(example) == facts(other)


def _is_long(example: Example) -> bool:
    return whole_text(example).count(" ") >= FEWEST_WORDS - 1


def _jaccard(runs: set[int], others: set[int]) -> float:
    shared = len(runs & others)
    return shared / (len(runs) + len(others) - shared)


def _number(key: str) -> int:
    """The first 64 bits of a fingerprint, which is smaller to remember: two of a billion rows meet once in forty."""
    return int(key[:16], 16)
