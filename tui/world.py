"""The daemon's world as the dashboard last heard of it: frozen, so that a thread may hand it to a screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from appliance.events import EventType
from appliance.text import safe_text

# The longest string kept of anything that is not ours, and how many recent values a sparkline may need.
TEXT_LIMIT = 4000
RECENT = 120
Thing = Mapping[str, Any]


class LinkState(StrEnum):
    """How the dashboard stands with the daemon."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True)
class Link:
    """The connection, and why it is not there."""

    state: LinkState = LinkState.CONNECTING
    reason: str = "looking for the daemon"
    hint: str | None = None
    retry_seconds: float | None = None
    """How long until the next try; None while one is under way."""


@dataclass(frozen=True)
class Live:
    """What a running job last said of itself."""

    phase: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    done: float = 0
    total: float = 0
    unit: str = ""
    losses: tuple[tuple[float, float], ...] = ()
    """The course of the loss from the first step on, as step and loss, thinned."""

    def after(self, event: Thing) -> Live:
        """This, once one more event is known."""
        match event.get("type"):
            case EventType.STEP:
                return self._after_step(event)
            case EventType.PHASE:
                return replace(self, phase=str(event.get("name") or ""), done=0, total=0, unit="")
            case EventType.PROGRESS:
                done, total = number(event.get("done")) or 0, number(event.get("total")) or 0
                eta = number(event.get("eta_seconds"))
                return replace(self, done=done, total=total, unit=str(event.get("unit") or ""), eta_seconds=eta)
            case EventType.STARTED:
                return Live()
        return self

    def _after_step(self, event: Thing) -> Live:
        loss = number(event.get("loss"))
        step = int(number(event.get("step")) or self.step)
        return replace(
            self,
            step=step,
            steps=int(number(event.get("steps")) or self.steps),
            loss=loss,
            learning_rate=number(event.get("learning_rate")),
            tokens_per_second=number(event.get("tokens_per_second")),
            eta_seconds=number(event.get("eta_seconds")),
            losses=self.losses if loss is None else thinned((*self.losses, (step, loss))),
        )


@dataclass(frozen=True)
class World:
    """Everything the dashboard knows; each field holds the daemon's own JSON, made safe."""

    link: Link = field(default_factory=Link)
    status: Thing = field(default_factory=dict)
    jobs: Mapping[str, Thing] = field(default_factory=dict)
    live: Mapping[str, Live] = field(default_factory=dict)
    datasets: Mapping[str, Thing] = field(default_factory=dict)
    models: Mapping[str, Thing] = field(default_factory=dict)
    deployments: Mapping[str, Thing] = field(default_factory=dict)
    endpoint: Thing | None = None
    devices: Sequence[Thing] = ()
    busy: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Recent utilisation of each device, 0 to 1, oldest first."""
    read: bool = False
    """Whether a whole reading of the daemon ever arrived: before it, nothing is known to be empty."""

    def live_of(self, job: str) -> Live:
        """What a job last said; an empty saying when it said nothing."""
        return self.live.get(job, _SILENT)

    def told(self, job: str, event: Thing) -> World:
        """This world, once a worker said one more thing."""
        return replace(self, live={**self.live, job: self.live_of(job).after(event)})

    def changed(self, what: str, thing: Thing) -> World:
        """This world, with one job, dataset, model or deployment as it is now; a thing marked removed goes."""
        table = dict(getattr(self, what))
        key = str(thing.get("id") or "")
        if thing.get("removed") or thing.get("deleted"):
            table.pop(key, None)
        elif key:
            table[key] = thing
        changes: dict[str, Any] = {what: table}
        return replace(self, **changes)

    def sampled(self, devices: Sequence[Thing]) -> World:
        """This world, with the devices read once more."""
        busy = {}
        for device in devices:
            name = str(device.get("uuid") or device.get("name"))
            busy[name] = (*self.busy.get(name, ()), share(device.get("utilization")) or 0.0)[-RECENT:]
        return replace(self, devices=tuple(devices), busy=busy)


_SILENT = Live()


def thinned(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """At most twice ``RECENT`` points, first and last among them; of too many, one of each stretch of steps stays."""
    if len(points) <= 2 * RECENT:
        return points
    first, span = points[0][0], points[-1][0] - points[0][0]
    kept: dict[int, tuple[float, float]] = {}
    for point in points[:-1]:
        kept.setdefault(int((point[0] - first) * RECENT / span) if span > 0 else 0, point)
    return (*kept.values(), points[-1])


def safe_json(value: Any) -> Any:
    """The daemon's JSON with every string in it made harmless in a terminal: names, messages, even keys.

    It is done where the feed takes the JSON in, so that no screen can forget it.
    """
    if isinstance(value, str):
        return safe_text(value, limit=TEXT_LIMIT, multiline=True)
    if isinstance(value, Mapping):
        return {safe_text(key, limit=200): safe_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [safe_json(item) for item in value]
    return value


def by_id(things: Iterable[Thing]) -> dict[str, Thing]:
    """Things by their id, in the order they came."""
    return {str(thing.get("id")): thing for thing in things}


def number(value: Any) -> float | None:
    """The value if it is a number; JSON from elsewhere may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def share(value: Any) -> float | None:
    """A utilisation as 0 to 1, whether it was told as a ratio or in percent."""
    found = number(value)
    if found is None:
        return None
    return min(1.0, max(0.0, found / 100 if found > 1 else found))


def section(thing: Thing | None, key: str) -> Thing:
    """A part of a thing that should be an object; an empty one when it is not there or something else."""
    part = (thing or {}).get(key)
    return part if isinstance(part, Mapping) else {}


def items(thing: Thing | None, key: str) -> list[Thing]:
    """A part of a thing that should be a list of objects."""
    part = (thing or {}).get(key)
    return [item for item in part if isinstance(item, Mapping)] if isinstance(part, list | tuple) else []
