"""Which writing a text is in. A writing is told by its characters; a language is not, so none is claimed."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

# First code point of a range of letters → its script (Unicode, Blocks.txt); None between them.
_RANGES: tuple[tuple[int, str | None], ...] = (
    (0x00C0, "Latin"),
    (0x0250, None),
    (0x0370, "Greek"),
    (0x0400, "Cyrillic"),
    (0x0530, "Armenian"),
    (0x0590, "Hebrew"),
    (0x0600, "Arabic"),
    (0x0700, None),
    (0x0900, "Devanagari"),
    (0x0980, "Bengali"),
    (0x0A00, None),
    (0x0B80, "Tamil"),
    (0x0C00, "Telugu"),
    (0x0C80, None),
    (0x0E00, "Thai"),
    (0x0E80, None),
    (0x10A0, "Georgian"),
    (0x1100, "Hangul"),
    (0x1200, "Ethiopic"),
    (0x1380, None),
    (0x1E00, "Latin"),
    (0x1F00, "Greek"),
    (0x2000, None),
    (0x3040, "Kana"),
    (0x3100, None),
    (0x3400, "Han"),
    (0x4DC0, None),
    (0x4E00, "Han"),
    (0xA000, None),
    (0xAC00, "Hangul"),
    (0xD7B0, None),
    (0xF900, "Han"),
    (0xFB00, None),
)
_STARTS = [start for start, _ in _RANGES]
_LOOKED_AT = 400
"""Characters of a text that are looked at."""


def main_script(text: str) -> str | None:
    """The script most of the letters are in; None where there are no letters. Kana with Han is Japanese writing."""
    part = text[:_LOOKED_AT]
    if part.isascii():
        return "Latin" if any(map(str.isalpha, part)) else None
    counts: Counter[str] = Counter()
    for character in part:
        if character.isalpha():
            point = ord(character)
            name = "Latin" if point < _STARTS[0] else _RANGES[bisect_right(_STARTS, point) - 1][1]
            counts[name or "other"] += 1
    if counts["Kana"] and counts["Han"] + counts["Kana"] > counts["Latin"]:
        return "Kana"
    return min(counts, key=lambda name: (-counts[name], name)) if counts.total() else None
