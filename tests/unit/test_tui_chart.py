"""The chart: nothing is lost that matters, nothing is drawn that is not so."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.braille import Canvas, Range, decimate, range_of, smooth
from tui.widgets.chart import Curve, draw

FINITE = st.floats(-1e6, 1e6)


@given(st.lists(FINITE, min_size=1, max_size=400), st.integers(1, 40))
def test_thinning_keeps_the_lowest_and_the_highest_value(values: list[float], columns: int) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    kept = decimate(points, columns)
    assert len(kept) <= max(2 * columns, 1)
    assert min(y for _, y in kept) == min(values)
    assert max(y for _, y in kept) == max(values)
    assert kept == sorted(kept), "in the order they came"


@given(st.lists(FINITE, min_size=1, max_size=60), st.integers(20, 130), st.integers(4, 40), st.booleans())
def test_a_chart_fills_exactly_its_room_whatever_the_values(
    values: list[float], width: int, height: int, log: bool
) -> None:
    curve = Curve(tuple((float(x), y) for x, y in enumerate(values)), ((0.0, 1.0),), 100.0, log=log)
    lines = draw(curve, width, height).plain.split("\n")
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_left_out(value: float) -> None:
    assert "⠤" not in draw(Curve(((1.0, value),)), 40, 10).plain
    smoothed = smooth([(1.0, 2.0), (2.0, value), (3.0, 2.0)], 0.9)
    assert [step for step, _ in smoothed] == [1.0, 3.0]
    assert [loss for _, loss in smoothed] == pytest.approx([2.0, 2.0])


def test_smoothing_does_not_trail_behind_a_falling_loss() -> None:
    falling = [(float(step), 100.0 - step) for step in range(101)]
    middle = smooth(falling, 0.9)[50][1]
    assert middle == pytest.approx(50.0, abs=0.5)


def test_a_straight_line_has_a_dot_in_every_column() -> None:
    canvas = Canvas(10, 5)
    canvas.line([(0.0, 0.0), (1.0, 1.0)], Range(0, 1), Range(0, 1), "x")
    drawn = "".join(character for row in range(5) for character, _ in canvas.row(row))
    dots = sum(bin(ord(character) - 0x2800).count("1") for character in drawn if character != " ")
    assert dots >= 20
    assert canvas.row(0)[9][0] != " "
    assert canvas.row(4)[0][0] != " "


def test_a_mark_stands_where_its_value_is() -> None:
    drawn = draw(Curve(((0.0, 0.0), (100.0, 1.0)), ((50.0, 0.5),), 100.0, smoothed=False), 67, 22).plain
    row, line = next((at, line) for at, line in enumerate(drawn.split("\n")) if "◆" in line)
    assert row in (9, 10, 11)
    assert line.index("◆") - 7 in (29, 30)


def test_an_empty_chart_says_what_it_waits_for() -> None:
    assert "no step has been made yet" in draw(Curve(empty="no step has been made yet"), 60, 10).plain


def test_one_value_alone_gets_a_range_around_it() -> None:
    found = range_of([2.0])
    assert found.low < 2.0 < found.high


def test_too_small_a_room_draws_nothing_rather_than_failing() -> None:
    assert draw(Curve(((0.0, 1.0),)), 5, 1).plain == ""
