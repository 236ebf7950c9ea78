"""Lines and dots on a canvas of braille cells: two dots wide and four high in each character (U+2800 ff.)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]
# Bit of each dot, by column and row, as Unicode numbers them.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True)
class Range:
    """The part of an axis that is drawn."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float, cells: int) -> int | None:
        """Which of ``cells`` dots a value falls on; None when it is outside or not a number."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        low, high, value = (math.log(part) if self.log else part for part in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(share * (cells - 1)) if 0 <= share <= 1 else None


def range_of(values: Iterable[float], *, log: bool = False, room: float = 0.05) -> Range:
    """The range that holds all values, with some room; one value alone gets a range around it."""
    usable = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if not usable:
        return Range(0.1, 1.0, log) if log else Range(0.0, 1.0)
    low, high = min(usable), max(usable)
    if log:
        return Range(low / (1 + room), high * (1 + room), True)
    pad = (high - low) * room or abs(high) * 0.1 or 1.0
    return Range(low - pad if low - pad >= 0 or low < 0 else 0.0, high + pad)


def decimate(points: Sequence[Point], columns: int) -> list[Point]:
    """At most two points a column, the lowest and the highest in the order they came: no spike is lost."""
    if len(points) <= 2 * columns or columns < 1:
        return list(points)
    first, last = points[0][0], points[-1][0]
    width = (last - first) / columns or 1.0
    buckets: list[list[Point]] = [[] for _ in range(columns)]
    for point in points:
        buckets[min(columns - 1, max(0, int((point[0] - first) / width)))].append(point)
    kept: list[Point] = []
    for bucket in buckets:
        if bucket:
            extremes = {min(bucket, key=_height), max(bucket, key=_height)}
            kept += [point for point in bucket if point in extremes][:2]
    return kept


def _height(point: Point) -> float:
    return point[1]


def smooth(points: Sequence[Point], weight: float) -> list[Point]:
    """Exponential moving average, run from both ends and averaged, so that it does not trail behind a falling loss."""
    finite = [point for point in points if math.isfinite(point[1])]
    forward = _averaged([y for _, y in finite], weight)
    backward = _averaged([y for _, y in reversed(finite)], weight)
    pairs = zip(forward, reversed(backward), strict=True)
    return [(x, (ahead + behind) / 2) for (x, _), (ahead, behind) in zip(finite, pairs, strict=True)]


def _averaged(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average whose start is not pulled to zero (Adam's bias correction, Kingma and Ba, 2015)."""
    averaged: list[float] = []
    mean, scale = 0.0, 1.0
    for value in values:
        mean = weight * mean + (1 - weight) * value
        scale *= weight
        averaged.append(mean / (1 - scale))
    return averaged


@dataclass
class Canvas:
    """Braille cells with the style of the last thing drawn in each; later layers cover earlier ones."""

    width: int
    height: int
    cells: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    marks: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def line(self, points: Sequence[Point], x: Range, y: Range, style: str) -> None:
        """Join the points; a gap stays where a point cannot be placed."""
        previous: tuple[int, int] | None = None
        for point in points:
            spot = self._spot(point, x, y)
            if spot is not None:
                for dot in _between(previous or spot, spot):
                    self._dot(dot, style)
            previous = spot

    def mark(self, point: Point, x: Range, y: Range, glyph_style: tuple[str, str]) -> None:
        """Put a character over the cell of a point."""
        spot = self._spot(point, x, y)
        if spot is not None:
            self.marks[spot[0] // 2, spot[1] // 4] = glyph_style

    def row(self, y: int) -> list[tuple[str, str]]:
        """One line of cells as ``(character, style)``."""
        line: list[tuple[str, str]] = []
        for x in range(self.width):
            bits, style = self.cells.get((x, y), (0, ""))
            line.append(self.marks.get((x, y)) or (chr(0x2800 + bits) if bits else " ", style))
        return line

    def _spot(self, point: Point, x: Range, y: Range) -> tuple[int, int] | None:
        column, row = x.place(point[0], self.width * 2), y.place(point[1], self.height * 4)
        return None if column is None or row is None else (column, self.height * 4 - 1 - row)

    def _dot(self, spot: tuple[int, int], style: str) -> None:
        cell = (spot[0] // 2, spot[1] // 4)
        bits, owner = self.cells.get(cell, (0, style))
        kept = bits if owner == style else 0
        self.cells[cell] = (kept | _DOTS[spot[0] % 2][spot[1] % 4], style)


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """The dots of a straight line (Bresenham, 1965)."""
    (x, y), (x_end, y_end) = start, end
    right, down = abs(x_end - x), -abs(y_end - y)
    step_x, step_y = (1 if x < x_end else -1), (1 if y < y_end else -1)
    error = right + down
    while True:
        yield x, y
        if (x, y) == (x_end, y_end):
            return
        doubled = 2 * error
        if doubled >= down:
            error += down
            x += step_x
        if doubled <= right:
            error += right
            y += step_y
