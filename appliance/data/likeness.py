"""What makes two examples the same for a reader: their words, without case, punctuation and spacing.

Where signs carry meaning (code, formulas, negative numbers) a text is compared as it stands, so that ``5 - 3`` and
``5 + 3`` are two questions.
"""

from __future__ import annotations

import re
import sys
import unicodedata
import zlib
from functools import lru_cache

from appliance.data.example import Example, Message, as_dicts, fingerprint

# Vowel signs and accents that are characters of their own are parts of words, though Python's \w leaves them out.
_MARKS = "".join(
    re.escape(chr(point))
    for start, end in ((0x300, 0x2000), (0xA000, 0xAC00))
    for point in range(start, min(end, sys.maxunicode))
    if unicodedata.category(chr(point)).startswith("M")
)
_BETWEEN_WORDS = re.compile(rf"(?:[^\w{_MARKS}]|_)+")
_SIGNS = re.compile(r"[{}=<>\\^|~]|\w\(|;\s*$|```|\d\s*[-+*/%]|(?:^|\s)-\s?\d|[-+*/]\s?\d", re.MULTILINE)
_FACTS = re.compile(r"\d+(?:[.,:]\d+)*|\b[A-Z]\w*")
_SENTENCES = re.compile(r"[^.!?\n]+[.!?\n]?")
_MIXED = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


@lru_cache(maxsize=256)
def plain_words(text: str) -> str:
    """A text as its words; one with signs that carry meaning as it is.

    >>> plain_words("How do I  locate my_card?!")
    'how do i locate my card'
    >>> plain_words("What is 5 - 3?")
    'What is 5 - 3?'
    """
    if _SIGNS.search(text):
        return text.strip()
    return _BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def prompt_key(example: Example) -> str:
    """The same for examples that begin with the same question: they never lie on both sides of a split."""
    if example.text is not None:
        return fingerprint(["text", plain_words(example.text) or example.text])
    asked = []
    for message in example.messages:
        if message.role == "assistant":
            break
        asked.append([message.role, plain_words(message.content) or message.content])
    return fingerprint(asked or as_dicts(example.messages[:1]))


def word_key(example: Example) -> str:
    """The same for examples that differ in nothing but case, punctuation and spacing."""
    if example.text is not None:
        return fingerprint(["text", plain_words(example.text) or example.text])
    turns = [
        [message.role, plain_words(message.content) or message.content, *_rest(message)] for message in example.messages
    ]
    return fingerprint([turns, list(example.tools)])


def facts(example: Example) -> str:
    """What must be equal for long examples to be the same: figures, names, and the questions asked."""
    whole = whole_text(example)
    sentences = _SENTENCES.findall(whole) if "?" in whole else []
    questions = sorted(plain_words(sentence) for sentence in sentences if sentence.endswith("?"))
    return fingerprint([sorted(_FACTS.findall(whole)), questions])


def answer_key(example: Example) -> str:
    """The same for examples whose answers have the same words."""
    return fingerprint([plain_words(message.content) for message in example.messages if message.role == "assistant"])


def whole_text(example: Example) -> str:
    """Everything said in an example."""
    return example.text if example.text is not None else "\n".join(message.content for message in example.messages)


def shingles(example: Example) -> set[int]:
    """Every three words in a row, as 64-bit numbers that are the same on every machine."""
    parts = [example.text] if example.text is not None else [message.content for message in example.messages]
    spoken = " ".join(map(plain_words, parts)).encode("utf-8", "replace").split()
    words = list(map(zlib.crc32, spoken))
    found = set()
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        mixed = ((first * _MIXED) ^ (second << 21) ^ (third * 0x2545F4914F6CDD1D)) & _MASK
        found.add((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 & _MASK)
    return found


def _rest(message: Message) -> list[object]:
    return [message.weight, list(message.tool_calls), message.tool_call_id]
