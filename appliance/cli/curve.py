"""Numbers as people read them in a terminal: a curve one line high, a bar, a rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The means of ``width`` equal parts of ``values`` as block characters.

    >>> sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8)
    '█▇▆▅▄▃▂▁'
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    count = min(width, len(finite))
    edges = [len(finite) * part // count for part in range(count + 1)]
    means = [sum(finite[low:high]) / (high - low) for low, high in pairwise(edges)]
    low, high = min(means), max(means)
    if high - low < 1e-12:
        return _BLOCKS[0] * count
    return "".join(_BLOCKS[round((mean - low) / (high - low) * (len(_BLOCKS) - 1))] for mean in means)


def bar(share: float, width: int) -> str:
    """A bar filled to ``share`` of its width.

    >>> bar(0.5, 8)
    '━━━━────'
    """
    full = round(max(0.0, min(1.0, share)) * width)
    return "━" * full + "─" * (width - full)


def count_text(number: float | None) -> str:
    """A count or rate in at most five characters.

    >>> count_text(1874.2), count_text(42)
    ('1.9k', '42')
    """
    if number is None:
        return "–"
    size = float(number)
    for unit in ("", "k", "M"):
        if abs(size) < 1000:
            return f"{size:.0f}" if not unit or abs(size) >= 100 else f"{size:.1f}{unit}"
        size /= 1000
    return f"{size:.1f}G"


def number_text(value: object) -> str:
    """A figure of ours: three significant digits for fractions, separators for thousands.

    >>> number_text(0.12345), number_text(12345), number_text(None)
    ('0.123', '12,345', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:.3g}"


def share_text(value: object) -> str:
    """A share between 0 and 1 in percent; anything else as a number.

    >>> share_text(0.945), share_text(1.0), share_text(3.2)
    ('94.5 %', '100 %', '3.2')
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return f"{value * 100:.1f}".removesuffix(".0") + " %"
    return number_text(value)
