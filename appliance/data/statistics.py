"""Numbers about the examples that are left: how long they are, and what the tokenizer loses of them."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from appliance.data.example import Example
from appliance.data.likeness import whole_text
from appliance.data.spans import Encoded
from appliance.data.tokenizer import Tokenizer


@dataclass
class Tokens:
    """Lengths in tokens."""

    lengths: array[int] = field(default_factory=lambda: array("I"))
    learnt: int = 0

    def add(self, encoded: Encoded) -> None:
        """Count one example."""
        self.lengths.append(len(encoded.ids))
        self.learnt += encoded.supervised

    def as_dict(self) -> dict[str, Any] | None:
        """Totals and quantiles; None when nothing was measured."""
        if not self.lengths:
            return None
        ordered = sorted(self.lengths)
        last = len(ordered) - 1
        quantiles = {f"p{share}": ordered[round(last * share / 100)] for share in (50, 90, 99)}
        total = sum(ordered)
        mean = round(total / len(ordered), 1)
        return {"total": total, "learnt": self.learnt, "mean": mean, "longest": ordered[-1], **quantiles}


@dataclass
class Losses:
    """Characters for which the tokenizer has no token."""

    characters: int = 0
    lost: int = 0
    which: Counter[str] = field(default_factory=Counter)
    rows: list[int] = field(default_factory=list)

    def add(self, example: Example, tokenizer: Tokenizer) -> None:
        """Look for losses in one example."""
        text = whole_text(example)
        self.characters += len(text)
        lost = tokenizer.loss_of(text)
        if lost:
            self.lost += len(lost)
            self.which.update(lost)
            self.rows.append(example.row)

    @property
    def share(self) -> float:
        """The share of the characters that is lost."""
        return self.lost / self.characters if self.characters else 0.0
