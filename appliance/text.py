"""Strings that came from elsewhere, made safe to show; numbers and times, made readable."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

# Format characters that reorder or hide what follows: a name must not be able to disguise itself.
_KEPT_FORMAT = {"\u200c", "\u200d"}
_REPLACEMENT = "\ufffd"


def safe_text(value: object, *, limit: int = 2000, multiline: bool = False) -> str:
    """Make a string that is not ours harmless in a terminal.

    Control characters (ESC, C1, BEL…), bidirectional overrides and lone surrogates become U+FFFD, tabs and
    line breaks become spaces unless ``multiline``, and no more than ``limit`` characters are kept, with the
    number left out named. It does not escape markup: widgets are given plain text objects.

    >>> safe_text("a\\x1b]52;c;aGk=\\x07b")
    'a\ufffd]52;c;aGk=\ufffdb'
    """
    text = str(value)
    left_out = len(text) - limit
    if left_out > 0:
        text = text[:limit]
    shown = "".join(_safe_character(character, multiline) for character in text)
    return f"{shown}… ({left_out} more characters)" if left_out > 0 else shown


def _safe_character(character: str, multiline: bool) -> str:
    if character in "\n\t":
        return character if multiline else " "
    if character == "\r":
        return "" if multiline else " "
    category = unicodedata.category(character)
    if category in ("Cc", "Cs") or (category == "Cf" and character not in _KEPT_FORMAT):
        return _REPLACEMENT
    if character in "\u2028\u2029":
        return " "
    return character


def bytes_text(count: float | None) -> str:
    """A size for people, in decimal units.

    >>> bytes_text(7_340_032)
    '7.3 MB'
    """
    if count is None:
        return "unknown"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_text(seconds: float | None) -> str:
    """A duration for people.

    >>> duration_text(3725)
    '1h 02m'
    """
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def now_iso() -> str:
    """The present as ISO-8601 UTC with milliseconds, as every record of ours writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
