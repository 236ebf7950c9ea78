"""Which queued jobs start now and where, and why each of the others waits. Pure: facts in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

SERVE = "serve"
REPORT = "report"


class Need(StrEnum):
    """What a kind of job takes of the machine."""

    DEVICE = "device"
    """A device to itself."""
    LIGHT = "light"
    """A slot among the few light jobs."""
    SEAT = "seat"
    """Nothing that is counted, but there is one at a time."""


NEEDS: dict[str, Need] = {
    "fetch": Need.LIGHT,
    "ingest": Need.LIGHT,
    "plan": Need.LIGHT,
    "train": Need.DEVICE,
    "evaluate": Need.DEVICE,
    "export": Need.DEVICE,
    "parity": Need.LIGHT,
    REPORT: Need.LIGHT,
    SERVE: Need.SEAT,
}


@dataclass(frozen=True)
class Candidate:
    """A queued job."""

    id: str
    kind: str
    device: str | None = None
    """The device it must have, None when any will do."""
    not_before: float = 0.0
    """Monotonic time before which it is not tried again."""
    held: str | None = None
    """Why it waits for something that is no job, in a sentence."""


@dataclass(frozen=True)
class Running:
    """A job that holds something."""

    id: str
    kind: str
    name: str
    device: str | None = None


@dataclass(frozen=True)
class Start:
    """A decision: this job starts now, there."""

    id: str
    device: str | None


@dataclass
class Placement:
    """Every decision of one look at the queue."""

    starts: list[Start] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    """Job id → one sentence on why it waits."""


@dataclass(frozen=True)
class Capacity:
    """What the machine has."""

    devices: Sequence[str]
    """Names of the devices jobs run on, the preferred first."""
    light_jobs: int


def place(queue: Iterable[Candidate], running: Iterable[Running], capacity: Capacity, now: float = 0.0) -> Placement:
    """Go through the queue in its order and start what fits; a job that waits does not hold up one that can go."""
    decided = Placement()
    holders = list(running)
    for job in queue:
        if job.not_before > now:
            decided.reasons[job.id] = f"Tried again in {job.not_before - now:.0f} s, because the last attempt died."
            continue
        if job.held is not None:
            decided.reasons[job.id] = job.held
            continue
        device, reason = _spot(job, holders, capacity)
        if reason is not None:
            decided.reasons[job.id] = reason
            continue
        decided.starts.append(Start(job.id, device))
        holders.append(Running(job.id, job.kind, job.kind, device))
    return decided


def _spot(job: Candidate, holders: Sequence[Running], capacity: Capacity) -> tuple[str | None, str | None]:
    """A device, or why there is none."""
    need = NEEDS.get(job.kind, Need.DEVICE)
    if need is Need.SEAT:
        other = next((holder for holder in holders if holder.kind == job.kind), None)
        return None, f"Waits for {other.id}, which is still ending." if other else None
    if need is Need.LIGHT:
        light = [holder.id for holder in holders if NEEDS.get(holder.kind) is Need.LIGHT]
        if len(light) < capacity.light_jobs:
            return None, None
        return None, f"Waits for one of {capacity.light_jobs} light slots, taken by {', '.join(light)}."
    busy = {holder.device: holder for holder in holders if holder.device is not None}
    wanted = [job.device] if job.device else list(capacity.devices)
    free = next((device for device in wanted if device not in busy), None)
    return (free, None) if free else (None, _busy(wanted, busy))


def _busy(wanted: Sequence[str], busy: Mapping[str, Running]) -> str:
    if not wanted:
        return "Waits for a device, and this machine has none."
    uses = [f"{device}, which {busy[device].id} ({busy[device].kind} '{busy[device].name}') uses" for device in wanted]
    return f"Waits for {'; '.join(uses)}."
