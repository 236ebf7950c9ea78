"""Finding what is there twice: exactly, in other clothes, or almost.

Long examples are compared by the share of three-word runs they have in common (Jaccard). Only examples that share
one of their rarest runs are compared at all: two sets with a Jaccard similarity of at least t share one of the first
n - ceil(t·n) + 1 elements in any common order (prefix filtering; Chaudhuri et al. 2006), and rarest-first makes those
lists short. Very long examples are represented by their rarest runs, which makes the comparison cheaper and stricter.

Rows written from a template differ in one word and mean another thing. So figures, names and questions must agree,
and either the question or a whole answer must agree word for word.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

from appliance.data.example import Example
from appliance.data.likeness import answer_key, facts, shingles, whole_text, word_key

THRESHOLD = 0.95
"""Jaccard similarity of three-word runs from which long examples are the same."""
FEWEST_WORDS = 40
"""Shorter examples are near-duplicates only when all their words agree: one word changed is another example."""
_SKETCH = 256
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
        return sorted(runs, key=lambda run: (self._counts[run % _COUNTERS], run))[:_SKETCH]


class ExactDuplicates:
    """Which row first had this content."""

    def __init__(self) -> None:
        self._rows: dict[bytes, int] = {}

    def first(self, example: Example) -> int | None:
        """The earlier row that is identical, or None, and this one is remembered."""
        key = bytes.fromhex(example.content_key())
        row = self._rows.setdefault(key, example.row)
        return None if row == example.row else row


class NearDuplicates:
    """Which earlier row says the same."""

    def __init__(self, rarity: Rarity) -> None:
        self._rarity = rarity
        self._words: dict[bytes, int] = {}
        self._runs: dict[int, list[int]] = {}
        self._sketches: list[_Sketch] = []

    def first(self, example: Example) -> int | None:
        """The earlier row that says the same, or None, and this one is remembered."""
        key = bytes.fromhex(word_key(example))
        if key in self._words:
            return self._words[key]
        found = self._alike(example)
        if found is None:
            self._words[key] = example.row
        return found

    def _alike(self, example: Example) -> int | None:
        if not _is_long(example):
            return None
        sketch = self._rarity.rarest_first(shingles(example))
        if len(sketch) < FEWEST_WORDS - 2:
            return None
        prefix = sketch[: len(sketch) - math.ceil(THRESHOLD * len(sketch)) + 1]
        new = _Sketch(example.row, facts(example), example.group, answer_key(example), array("Q", sketch))
        runs = set(sketch)
        candidates = sorted({place for run in prefix for place in self._runs.get(run, ())})
        for place in candidates:
            other = self._sketches[place]
            if new.agrees(other) and _jaccard(runs, other.runs) >= THRESHOLD:
                return other.row
        for run in prefix:
            self._runs.setdefault(run, []).append(len(self._sketches))
        self._sketches.append(new)
        return None


@dataclass(frozen=True)
class _Sketch:
    """A long example, as small as comparing it allows."""

    row: int
    facts: str
    question: str
    answer: str
    runs: array[int]

    def agrees(self, other: _Sketch) -> bool:
        return self.facts == other.facts and (self.question == other.question or self.answer == other.answer)


def _is_long(example: Example) -> bool:
    return whole_text(example).count(" ") >= FEWEST_WORDS - 1


def _jaccard(runs: set[int], other: array[int]) -> float:
    shared = sum(run in runs for run in other)
    return shared / (len(runs) + len(other) - shared)
