"""A line chart in braille: the values dim, their smoothed course bright, marks on top, axes with labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui.show.words import count, sci
from tui.widgets.braille import Canvas, Point, Range, decimate, range_of, smooth

_LABEL = 7
SMOOTHING = 0.9


@dataclass(frozen=True)
class Curve:
    """What a chart shows."""

    points: Sequence[Point] = ()
    marks: Sequence[Point] = ()
    """Single values, such as the validation loss, drawn as diamonds."""
    end: float = 0.0
    """Where the horizontal axis ends at least: the planned number of steps."""
    smoothed: bool = True
    log: bool = False
    floor: float | None = None
    """A value that the vertical axis reaches down to, so that small changes look small."""
    empty: str = "nothing to draw yet"


class BrailleChart(Widget):
    """Draws a ``Curve`` into whatever room it has."""

    curve: reactive[Curve] = reactive(Curve())

    DEFAULT_CSS = "BrailleChart { height: 1fr; width: 1fr; }"

    def render(self) -> Content:
        return draw(self.curve, self.size.width, self.size.height)


def draw(curve: Curve, width: int, height: int) -> Content:
    """The chart as text of exactly ``height`` lines of ``width`` cells."""
    columns, rows = width - _LABEL, height - 1
    if columns < 8 or rows < 2:
        return Content("")
    if not curve.points and not curve.marks:
        return Content.styled("\n" * (height // 2) + curve.empty.center(width), "$quiet")
    points = decimate(curve.points, columns * 2)
    everything = [*points, *curve.marks]
    steps = [x for x, _ in everything]
    x = Range(min(0.0, *steps) if len(steps) > 1 else min(0.0, steps[0]), max(curve.end, *steps, 1.0))
    floor = [] if curve.floor is None else [curve.floor]
    y = range_of([*floor, *(value for _, value in everything)], log=curve.log)
    canvas = Canvas(columns, rows)
    if curve.smoothed:
        canvas.line(points, x, y, "$faint")
        canvas.line(decimate(_smoothed(curve), columns * 2), x, y, "$primary")
    else:
        canvas.line(points, x, y, "$primary")
    for mark in curve.marks:
        canvas.mark(mark, x, y, ("◆", "$warning"))
    return Content("\n").join([*_rows(canvas, y), _steps(x, columns)])


def _smoothed(curve: Curve) -> list[Point]:
    """The smoothed course, in the measure of the axis: on a logarithmic one a mean of values lies too high."""
    weight = _weight(len(curve.points))
    if not curve.log:
        return smooth(curve.points, weight)
    logs = [(x, math.log(y)) for x, y in curve.points if y > 0 and math.isfinite(y)]
    return [(x, math.exp(y)) for x, y in smooth(logs, weight)]


def _weight(points: int) -> float:
    """Short series are smoothed less: a tenth of what is seen, at most ``SMOOTHING``."""
    return min(SMOOTHING, max(0.0, 1 - 12 / max(points, 12)))


def _rows(canvas: Canvas, y: Range) -> list[Content]:
    """The lines of the canvas, each with a label where there is room for one."""
    every = max(2, (canvas.height + 2) // 4)
    lines: list[Content] = []
    for row in range(canvas.height):
        labelled = row == canvas.height - 1 or (row % every == 0 and canvas.height - 1 - row >= 2)
        label = _number(_value_at(row, canvas.height, y)) if labelled else ""
        lines.append(
            Content.assemble((f"{label:>{_LABEL - 1}}", "$quiet"), ("┤" if label else "│", "$line"), *canvas.row(row))
        )
    return lines


def _value_at(row: int, height: int, y: Range) -> float:
    """The value that a line of cells stands for: the ends of the range in the first and the last."""
    share = 1 - row / (height - 1)
    if y.log:
        return math.exp(math.log(y.low) + (math.log(y.high) - math.log(y.low)) * share)
    return y.low + (y.high - y.low) * share


def _number(value: float) -> str:
    """A label of at most as many characters as there is room for."""
    if value and (abs(value) < 0.01 or abs(value) >= 1e6):
        label = sci(value)
        mantissa, _, exponent = f"{value:.0e}".partition("e")
        return label if len(label) < _LABEL else f"{mantissa}e{int(exponent)}"[: _LABEL - 1]
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.2f}"


def _steps(x: Range, columns: int) -> Content:
    """The labels of the horizontal axis: as many as have room."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0) if columns >= 60 else (0.0, 0.5, 1.0)
    line = [" "] * columns
    for share in shares:
        label = count(x.low + (x.high - x.low) * share)
        start = max(0, min(columns - len(label), round(share * (columns - 1) - len(label) / 2)))
        line[start : start + len(label)] = label
    return Content.styled(" " * _LABEL + "".join(line), "$quiet")
