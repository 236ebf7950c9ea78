"""The F1 of shared words: the harmonic mean of precision and recall over two bags of words.

As in SQuAD (Rajpurkar et al. 2016), but no English articles are dropped and every character of a script written
without spaces between words counts as a word, so that the score means something in any language.
"""

from __future__ import annotations

import re
from collections import Counter

from . import Metric
from .exact_match import normalised

# Kana, Han, Thai, Lao, Khmer and Myanmar are written without spaces: one character is one word there.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation.

    >>> words("It is 7 o'clock, 東京!")
    ['it', 'is', '7', 'o', 'clock', '東', '京']
    """
    return _WORD.findall(normalised(text))


def score(answer: str, expected: str) -> float:
    """Between 0 (no word shared) and 1 (the same bag of words); two texts without words are compared as they are."""
    given, wanted = words(answer), words(expected)
    if not given or not wanted:
        return float(normalised(answer) == normalised(expected))
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted))


METRIC = Metric(name="token_f1", label="token F1", higher_is_better=True, binary=False, score=score, is_share=True)
