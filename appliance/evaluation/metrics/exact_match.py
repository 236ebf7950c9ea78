"""Exact match, but for case, Unicode form and white space."""

from __future__ import annotations

import unicodedata

from . import Metric


def normalised(text: str) -> str:
    """The text in NFKC, case-folded, with runs of white space made one space and none at the ends.

    >>> normalised("  The \\n Answer ")
    'the answer'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def score(answer: str, expected: str) -> float:
    """1 when both are the same once normalised, else 0."""
    return float(normalised(answer) == normalised(expected))


METRIC = Metric(name="exact_match", label="exact match", higher_is_better=True, binary=True, score=score, is_share=True)
