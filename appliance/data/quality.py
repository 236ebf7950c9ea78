"""What a careful reader notices in the examples themselves, counted while they pass by.

Thresholds: lengths that vary by more than twice their mean, classes more than ten to one apart, a value missing in
more than a tenth of the rows. Nothing is claimed about truth or toxicity: a pattern cannot tell them.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field

from appliance.data.example import Example
from appliance.data.likeness import plain_words, whole_text
from appliance.data.personal import personal_kinds
from appliance.data.scripts import main_script

LENGTH_VARIATION = 2.0
"""Standard deviation of the lengths over their mean."""
IMBALANCE = 10.0
"""Most frequent class over the least frequent one."""
_LABEL = 64
"""Longest answer, in characters, that can be a class."""
_CLASSES = 1000
_REMEMBERED = 1_000_000
"""Questions whose answers are compared; with more, the first ones."""
_OUTLIER, _OUTLIER_LEAST = 20, 2000
_OPENING = 300
"""Characters of an answer in which it refuses, if it does."""
_REFUSALS = (
    *("as an ai language model", "as an ai model", "as an ai,", "i am an ai", "i'm an ai", "i’m an ai"),
    *("i'm sorry, but i can", "i’m sorry, but i can", "i am sorry, but i can", "my knowledge cutoff"),
    *(
        f"{cannot} {verb}"
        for cannot in ("i cannot", "i can't", "i can’t", "i am unable to", "i'm unable to", "i am not able to")
        for verb in ("assist", "help you", "help with", "provide", "fulfil", "comply", "answer")
    ),
)
_BOILERPLATE = (
    *("lorem ipsum", "all rights reserved", "click here to", "subscribe to our", "accept cookies", "enable javascript"),
    *("accept all cookies", "share this post", "terms of service", "terms of use", "<div", "<span", "<script", "href="),
)
_BROKEN = re.compile("[ÃÂ][\x80-\xbf]|â€|ï»¿|\ufffd|&(?:amp|quot|nbsp|lt|gt);")


@dataclass
class Quality:
    """Counts over the examples that are left once duplicates are out."""

    examples: int = 0
    rows: dict[str, array[int]] = field(default_factory=dict)
    """Code of a finding → rows it was found in."""
    flagged: int = 0
    """Examples with anything found in them."""
    lengths: array[int] = field(default_factory=lambda: array("I"))
    """Characters of each example."""
    numbers: array[int] = field(default_factory=lambda: array("Q"))
    """The row of each."""
    labels: Counter[str] | None = field(default_factory=Counter)
    """Short answers; None once they are too many to be classes."""
    scripts: Counter[str] = field(default_factory=Counter)
    _answers: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, example: Example, *, odd: bool = False) -> None:
        """Look at one example; ``odd`` when something was noticed about it before."""
        text = whole_text(example)
        self.examples += 1
        self.lengths.append(min(len(text), 0xFFFFFFFF))
        self.numbers.append(example.row)
        self.scripts[main_script(text) or "no letters"] += 1
        found = [f"personal-{kind}" if kind != "secret" else kind for kind in personal_kinds(text)]
        lowered = text.lower()
        if any(words in lowered for words in _BOILERPLATE):
            found.append("boilerplate")
        if not text.isascii() and _BROKEN.search(text):
            found.append("broken-characters")
        if example.messages:
            found += self._about_answer(example)
        for code in found:
            self._note(code, example.row)
        self.flagged += bool(found) or odd

    def _about_answer(self, example: Example) -> list[str]:
        found = []
        asked, answer = example.split_answer()
        said = answer.content if answer else ""
        opening = said[:_OPENING].lower()
        if "i" in opening and any(words in opening for words in _REFUSALS):
            found.append("refusal")
        if said and asked and len(said) > 20 and said.strip() == asked[-1].content.strip():
            found.append("echoed-answer")
        self._count_label(said)
        if len(said) <= _LABEL and self._disagrees(example, said):
            found.append("disagreeing-answers")
        return found

    def _count_label(self, said: str) -> None:
        if self.labels is None:
            return
        if len(said) > _LABEL:
            self.labels = None
            return
        self.labels[said] += 1
        if len(self.labels) > _CLASSES:
            self.labels = None

    def _disagrees(self, example: Example, said: str) -> bool:
        """Whether an earlier example asked the same and was answered otherwise."""
        group, answer = int(example.group[:15] or "0", 16), hash_of(said)
        first = self._answers.get(group)
        if first is None:
            if len(self._answers) < _REMEMBERED:
                self._answers[group] = (answer, example.row)
            return False
        if first[0] == answer:
            return False
        if first[1] not in self.rows.get("disagreeing-answers", ()):
            self._note("disagreeing-answers", first[1])
        return True

    def _note(self, code: str, row: int) -> None:
        self.rows.setdefault(code, array("Q")).append(row)

    @property
    def length_variation(self) -> float:
        """Standard deviation of the lengths over their mean."""
        if len(self.lengths) < 2:
            return 0.0
        mean = sum(self.lengths) / len(self.lengths)
        squares = sum((length - mean) ** 2 for length in self.lengths)
        return math.sqrt(squares / len(self.lengths)) / mean if mean else 0.0

    def outliers(self) -> list[int]:
        """Rows that are many times as long as the middle one, where they are few."""
        if not self.lengths:
            return []
        middle = sorted(self.lengths)[len(self.lengths) // 2]
        limit = max(_OUTLIER * middle, _OUTLIER_LEAST)
        found = [row for row, length in zip(self.numbers, self.lengths, strict=True) if length > limit]
        return found if len(found) <= 0.05 * len(self.lengths) else []

    def classes(self) -> Counter[str] | None:
        """How often each class occurs; None when the answers are no classes: some must occur again and again."""
        if not self.labels or len(self.labels) < 2 or self.examples < 5 * len(self.labels):
            return None
        return self.labels


def hash_of(answer: str) -> int:
    """A number that is the same for answers of the same words, in this process."""
    return hash(plain_words(answer))
