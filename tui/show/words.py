"""States, bars, sparklines and clocks as text: each state is a glyph and a word, and colour only helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from textwrap import wrap

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from appliance.text import duration_text

# state → (glyph, colour). Every glyph is one cell wide and different from every other.
STATES: dict[str, tuple[str, str]] = {
    "running": ("▶", "$primary"),
    "starting": ("▷", "$primary"),
    "queued": ("○", "$quiet"),
    "blocked": ("◌", "$quiet"),
    "paused": ("‖", "$warning"),
    "interrupted": ("↻", "$warning"),
    "succeeded": ("✔", "$success"),
    "failed": ("✖", "$error"),
    "cancelled": ("–", "$quiet"),
}
_BLOCKS = "▁▂▃▄▅▆▇█"


def state_glyph(state: object) -> Content:
    """The glyph of a state in its colour; a state of a later release gets a question mark."""
    glyph, colour = STATES.get(str(state), ("?", "$quiet"))
    return Content.styled(glyph, colour)


def state_text(state: object) -> Content:
    """Glyph and word."""
    glyph, colour = STATES.get(str(state), ("?", "$quiet"))
    return Content.styled(f"{glyph} {one_line(state)}", colour)


def one_line(value: object, width: int | None = None) -> str:
    """A string on one line, cut to ``width`` cells with an ellipsis; wide characters count double."""
    line = " ".join(str(value).split())
    if width is None or cell_len(line) <= width:
        return line
    return set_cell_size(line, max(0, width - 1)).rstrip() + "…" if width > 0 else ""


def bar(share: float | None, width: int, colour: str = "$primary") -> Content:
    """A progress bar of ``width`` cells, drawn to half a cell; an unknown share is an empty bar."""
    halves = round(max(0.0, min(1.0, share or 0.0)) * width * 2)
    full, half = divmod(halves, 2)
    filled = "━" * full + ("╸" if half else "")
    return Content.assemble((filled, colour), ("─" * (width - full - half), "$faint"))


def gauge(share: float | None, width: int) -> Content:
    """A bar for what can run out, such as memory: it turns to the colour of attention when it is nearly full."""
    colour = "$error" if (share or 0) >= 0.95 else "$warning" if (share or 0) >= 0.85 else "$primary"
    return bar(share, width, colour)


def sparkline(values: Sequence[float], width: int, *, low: float | None = None, high: float | None = None) -> str:
    """Values as at most ``width`` blocks, neighbours averaged, scaled to their own range or to ``low`` and ``high``."""
    shown = _averaged(values, width)
    if not shown:
        return ""
    bottom = min(shown) if low is None else low
    top = max(shown) if high is None else high
    scale = (len(_BLOCKS) - 1) / (top - bottom) if top > bottom else 0.0
    return "".join(_BLOCKS[round(max(0.0, min(top - bottom, value - bottom)) * scale)] for value in shown)


def _averaged(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [place * len(values) // width for place in range(width + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]


def course(points: Sequence[tuple[float, float]], width: int) -> list[float]:
    """The values of a curve at ``width`` places evenly along its steps; each the mean of what is near it."""
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return [value for _, value in points]
    first, span = points[0][0], points[-1][0] - points[0][0]
    columns: list[list[float]] = [[] for _ in range(width)]
    for step, value in points:
        columns[max(0, min(width - 1, int((step - first) / span * width)))].append(value)
    values: list[float] = []
    for column in columns:
        if column or values:
            values.append(sum(column) / len(column) if column else values[-1])
    return values


def lines_of(value: object, width: int, most: int) -> list[str]:
    """A sentence on at most ``most`` lines, the last cut with an ellipsis."""
    lines = wrap(one_line(value), max(4, width)) or [""]
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] = f"{kept[-1][: max(0, width - 1)]}…"
    return [one_line(line, width) for line in kept]


def percent(share: float | None) -> str:
    """A share for people."""
    return "   –" if share is None else f"{share * 100:3.0f} %"


def count(value: float | None) -> str:
    """A whole number with thin gaps between thousands."""
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")


def rate(value: float | None) -> str:
    """A rate of tokens a second, in three digits."""
    if value is None:
        return "–"
    return f"{value / 1000:.1f}k" if value >= 10_000 else count(value)


def sci(value: float | None) -> str:
    """A learning rate.

    >>> sci(0.00012)
    '1.2e-4'
    """
    if value is None or not math.isfinite(value):
        return "–"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def parse_time(value: object) -> datetime | None:
    """An ISO-8601 instant in local time; None for anything else."""
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError):
        return None


def clock(moment: datetime | None, *, seconds: bool = False) -> str:
    """The time of day."""
    return "–" if moment is None else moment.strftime("%H:%M:%S" if seconds else "%H:%M")


def when(value: object, now: datetime) -> str:
    """The time of day if it was today, otherwise the day."""
    moment = parse_time(value)
    if moment is None:
        return "–"
    return clock(moment) if moment.date() == now.date() else f"{moment.day} {moment.strftime('%b')}"


def eta(seconds: float | None, now: datetime) -> str:
    """When something will be over: as a clock time and as a duration."""
    if seconds is None or seconds < 0 or seconds > 10 * 365 * 86400:
        return "–"
    moment = now + timedelta(seconds=seconds)
    day = "" if moment.date() == now.date() else moment.strftime("%a ")
    return f"{day}{clock(moment)} (in {duration_text(seconds)})"


def took(start: object, end: object, now: datetime) -> str:
    """How long something took, or has taken up to now."""
    begun, ended = parse_time(start), parse_time(end)
    return "–" if begun is None else duration_text(max(0.0, ((ended or now) - begun).total_seconds()))
