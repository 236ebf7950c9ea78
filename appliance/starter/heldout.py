"""Which questions are never trained on: decided by a hash of the question alone, so no list has to be kept in step.

One question in twelve is held out. The generator drops such a question wherever it turns up (also in the middle of a
conversation), and the committed evaluation items (``skills.jsonl``) are drawn from the held-out side only. So the
overlap is zero by construction; the builder and the tests count it all the same.
"""

from __future__ import annotations

import hashlib
import unicodedata

HELD_OUT_ONE_IN = 12


def normalise(question: str) -> str:
    """The question with compatibility forms folded, case dropped and runs of whitespace made one space."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def question_hash(question: str) -> str:
    """SHA-256 of the normalised question, hexadecimal."""
    return hashlib.sha256(normalise(question).encode("utf-8", "surrogatepass")).hexdigest()


def is_held_out(question: str) -> bool:
    """True when the question belongs to the evaluation side and may not be trained on."""
    return int(question_hash(question)[:12], 16) % HELD_OUT_ONE_IN == 0
