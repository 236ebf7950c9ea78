"""The curves and events of one job: what the daemon kept of it, continued by what its worker says now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.events import EventType
from tui.widgets.braille import Point, decimate
from tui.widgets.chart import Curve
from tui.world import Thing, number

# More points than any terminal has dots are thinned, so that a job of a week costs no more than one of a minute.
_MOST_POINTS = 4000
_KEPT_EVENTS = 1000


@dataclass(frozen=True)
class Now:
    """The newest value of each number that a worker tells."""

    learning_rate: float | None = None
    tokens_per_second: float | None = None
    gradient_norm: float | None = None
    tokens: float | None = None
    saved: int | None = None


class JobSeries:
    """Grows with each event; a step that is told again, after a resume, replaces what came after it."""

    def __init__(self) -> None:
        self._events: dict[int, Thing] = {}
        self._curves: dict[str, list[Point]] = {"loss": [], "learning_rate": [], "tokens_per_second": []}
        self._validation: list[Point] = []

    @property
    def events(self) -> list[Thing]:
        """The newest events, in their order."""
        return [self._events[seq] for seq in sorted(self._events)]

    def read(self, metrics: Mapping[str, Any], events: Sequence[Thing]) -> None:
        """Take what the daemon kept; what came while it was being read is put after it."""
        later = self._events
        self._events = {}
        steps = metrics.get("step") or []
        for name, curve in self._curves.items():
            curve[:] = _points(steps, metrics.get(name) or [])
        self._validation = [point for pair in metrics.get("validation") or [] if (point := _pair(pair)) is not None]
        last_step = self._curves["loss"][-1][0] if self._curves["loss"] else -1.0
        known: dict[int, Thing] = {}
        for event in events:
            known[int(number(event.get("seq")) or 0)] = event
        for seq in sorted(set(later) - set(known)):
            self.add(later[seq], only_after=last_step)
        self._events = {**known, **self._events}
        self._forget()

    def add(self, event: Thing, *, only_after: float = -1.0) -> None:
        """Take one more event."""
        seq = int(number(event.get("seq")) or 0)
        if seq in self._events:
            return
        self._events[seq] = event
        step = number(event.get("step"))
        if event.get("type") == EventType.STEP and step is not None and step > only_after:
            for name, curve in self._curves.items():
                value = number(event.get(name))
                if value is not None:
                    _put(curve, (step, value))
        elif event.get("type") == EventType.EVALUATED and step is not None and number(event.get("loss")) is not None:
            _put(self._validation, (step, number(event.get("loss")) or 0.0))
        self._forget()

    def _forget(self) -> None:
        for seq in sorted(self._events)[:-_KEPT_EVENTS]:
            del self._events[seq]
        for curve in self._curves.values():
            if len(curve) > _MOST_POINTS:
                curve[:] = decimate(curve, _MOST_POINTS // 4)

    def loss(self, steps: float, *, log: bool) -> Curve:
        """The loss with its validation marks."""
        points, marks = tuple(self._curves["loss"]), tuple(self._validation)
        return Curve(points, marks, steps, log=log, empty="no step has been made yet")

    def rates(self, steps: float) -> Curve:
        return Curve(tuple(self._curves["learning_rate"]), (), steps, smoothed=False, floor=0.0)

    def speeds(self, steps: float) -> Curve:
        return Curve(tuple(self._curves["tokens_per_second"]), (), steps, floor=0.0)

    def title(self, *, log: bool) -> str:
        """The newest loss, the newest validation loss and the best."""
        loss, validation = self._curves["loss"], self._validation
        title = "loss (log)" if log else "loss"
        if loss:
            title += f" {loss[-1][1]:.3f}"
        if validation:
            best = min(validation, key=lambda point: point[1])
            rank = "the best" if best == validation[-1] else f"best {best[1]:.3f} at {best[0]:.0f}"
            title += f"   ◆ validation {validation[-1][1]:.3f}, {rank}"
        return title

    def now(self) -> Now:
        """The newest numbers."""
        steps = [event for event in self.events if event.get("type") == EventType.STEP]
        saved = [number(event.get("step")) for event in self.events if event.get("type") == EventType.SAVED]
        last = steps[-1] if steps else {}
        return Now(
            _newest(last, "learning_rate", self._curves),
            _newest(last, "tokens_per_second", self._curves),
            number(last.get("gradient_norm")),
            number(last.get("tokens")),
            int(saved[-1]) if saved and saved[-1] is not None else None,
        )


def _newest(event: Thing, name: str, curves: Mapping[str, list[Point]]) -> float | None:
    told = number(event.get(name))
    return told if told is not None else curves[name][-1][1] if curves[name] else None


def _points(steps: Sequence[Any], values: Sequence[Any]) -> list[Point]:
    pairs = (_pair(pair) for pair in zip(steps, values, strict=False))
    return [pair for pair in pairs if pair is not None]


def _pair(pair: Any) -> Point | None:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    x, y = number(pair[0]), number(pair[1])
    return None if x is None or y is None else (x, y)


def _put(curve: list[Point], point: Point) -> None:
    while curve and curve[-1][0] >= point[0]:
        curve.pop()
    curve.append(point)
