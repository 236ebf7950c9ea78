"""Drawings as inline SVG: no scripts, no fonts, no colours of their own; the page's style sheet gives those.

Only numbers and our own words go into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

Point = tuple[float, float]
WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 28, 36
POINTS = 600
LOG_FROM = 8.0
"""A curve that falls by more than this factor is drawn on a logarithmic scale."""
SPARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(max(v, 1e-12)) if self.is_log else v for v in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Four to seven round values inside."""
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
            return found if len(found) > 1 else [self.low, self.high]
        step = _nice((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def loss_chart(train: Sequence[Point], validation: Sequence[Point]) -> str:
    """The loss of every step, the same smoothed, and the validation points."""
    smooth = smoothed(train)
    everything = [value for _, value in [*train, *validation] if value > 0]
    if len(train) < 2 or not everything:
        return ""
    top = max([value for _, value in [*smooth, *validation]] + [_quantile([v for _, v in train], 0.98)])
    low, high = min(everything), top
    is_log = high / low > LOG_FROM
    pad = 1.06
    y = Scale(low / pad if is_log else max(0.0, low - 0.06 * (high - low)), high * pad, HEIGHT - BOTTOM, TOP, is_log)
    x = Scale(train[0][0], train[-1][0], LEFT, WIDTH - RIGHT)
    marks = "".join(
        f'<circle class="validation" cx="{x(step):.1f}" cy="{y(value):.1f}" r="3.5">'
        f"<title>step {step:g}: validation loss {value:.4g}</title></circle>"
        for step, value in validation
    )
    lines = [
        f'<path class="raw" d="{_path(decimated(train), x, y)}"/>',
        f'<path class="smooth" d="{_path(decimated(smooth), x, y)}"/>',
        f'<path class="validation" d="{_path(validation, x, y)}"/>' if len(validation) > 1 else "",
        marks,
    ]
    plot = f'x="{LEFT}" y="{TOP - 4}" width="{WIDTH - LEFT}" height="{HEIGHT - TOP - BOTTOM + 4}"'
    clip = f'<clipPath id="plot"><rect {plot}/></clipPath>'
    name = "loss, logarithmic" if is_log else "loss"
    inner = f'{clip}{_axes(x, y, name)}<g clip-path="url(#plot)">{"".join(lines)}</g>'
    return _svg(inner, WIDTH, HEIGHT, "Training and validation loss by step")


def rate_chart(points: Sequence[Point]) -> str:
    """The learning rate by step, small."""
    if len(points) < 2 or max(value for _, value in points) <= 0:
        return ""
    height = 136
    y = Scale(0.0, max(value for _, value in points) * 1.08, height - BOTTOM, TOP)
    x = Scale(points[0][0], points[-1][0], LEFT, WIDTH - RIGHT)
    inner = f'{_axes(x, y, "learning rate")}<path class="rate" d="{_path(decimated(points), x, y)}"/>'
    return _svg(inner, WIDTH, height, "Learning rate by step")


def strip(
    base: float | None, tuned: float, *, intervals: tuple[Sequence[float] | None, Sequence[float] | None], top: float
) -> str:
    """Base and tuned on one line from 0 to ``top``, each with its interval (base first), for a cell of a table."""
    width, height = 200, 34
    x = Scale(0.0, top or 1.0, 6, width - 6)
    parts = [f'<line class="track" x1="6" x2="{width - 6}" y1="17" y2="17"/>']
    for value, interval, name, y in ((base, intervals[0], "base", 11), (tuned, intervals[1], "tuned", 23)):
        if value is None:
            continue
        if interval:
            low, high = (min(max(x(bound), 6), width - 6) for bound in interval)
            parts.append(f'<line class="whisker {name}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{name}" cx="{x(value):.1f}" cy="{y}" r="4"/>')
    return _svg("".join(parts), width, height, "base and tuned with 95 % intervals", name="strip")


def stacked(parts: Sequence[tuple[str, int]]) -> str:
    """Counts as one bar; the class of a part is its position, so that a legend can share its colour."""
    total = sum(count for _, count in parts)
    if total <= 0:
        return ""
    height, at, rects = 22, 0.0, []
    for index, (name, count) in enumerate(parts):
        width = WIDTH * count / total
        title = f"<title>{name}: {count}</title>"
        rects.append(
            f'<rect class="part part-{index}" x="{at:.2f}" width="{width:.2f}" height="{height}">{title}</rect>'
        )
        at += width
    return _svg("".join(rects), WIDTH, height, "What became of the rows", name="stacked")


def sparkline(points: Sequence[Point], *, width: int = 40) -> str:
    """A curve in a line of text, for places without drawings."""
    values = [value for _, value in points]
    if not values:
        return ""
    cut = [values[index * len(values) // width] for index in range(width)] if len(values) > width else values
    low, high = min(cut), max(cut)
    span = (high - low) or 1.0
    return "".join(SPARKS[min(7, int(8 * (value - low) / span))] for value in cut)


def smoothed(points: Sequence[Point]) -> list[Point]:
    """The mean of the points around each, over about a twentieth of the curve; centred, so that it does not lag."""
    reach = len(points) // 40
    sums = [0.0, *accumulate(value for _, value in points)]
    found = []
    for index, (step, _) in enumerate(points):
        # As many on one side as on the other, also near the ends.
        near = min(reach, index, len(points) - 1 - index)
        found.append((step, (sums[index + near + 1] - sums[index - near]) / (2 * near + 1)))
    return found


def decimated(points: Sequence[Point], limit: int = POINTS) -> list[Point]:
    """At most about ``limit`` points, with the lowest and highest of every stretch, so that no spike is lost."""
    if len(points) <= limit:
        return list(points)
    kept: list[Point] = []
    size = math.ceil(len(points) / (limit / 2))
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        extremes = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(extremes)
    return kept


def _axes(x: Scale, y: Scale, name: str) -> str:
    parts = []
    for value in y.ticks():
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    floor = max(y.start, y.end)
    for value in x.ticks():
        label = f'<text class="tick" x="{x(value):.1f}" y="{floor + 18:.1f}" text-anchor="middle">{value:g}</text>'
        parts.append(label)
    parts.append(f'<text class="name" x="{LEFT - 8}" y="11">{name}</text>')
    parts.append(f'<text class="name" x="{WIDTH - RIGHT}" y="{floor + 31:.1f}" text-anchor="end">step</text>')
    return "".join(parts)


def _path(points: Sequence[Point], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    return "".join(f"{'M' if not i else 'L'}{x(step):.1f} {y(value):.1f}" for i, (step, value) in enumerate(points))


def _svg(inner: str, width: int, height: int, label: str, name: str = "chart") -> str:
    return f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{inner}</svg>'


def _nice(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough), 10 * power)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
