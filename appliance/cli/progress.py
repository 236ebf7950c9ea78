"""What a person sees of work in progress: the facts come in, lines come out. Nothing here prints or asks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.cli.curve import bar, count_text, sparkline
from appliance.cli.render import styled
from appliance.cli.summary import TERMINAL, result_line, seconds_of
from appliance.text import duration_text

if TYPE_CHECKING:
    from rich.text import Text

_SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {"succeeded": ("✔", "green"), "failed": ("✖", "bold red"), "cancelled": ("–", "yellow")}
_KIND_WIDTH = 10
_KEPT_LOSSES = 4096


@dataclass
class Progress:
    """The jobs being followed, and what of them was told already."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    losses: dict[str, deque[float]] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The newest step or progress event of each job."""
    _told: set[tuple[str, str]] = field(default_factory=set)
    _seen: dict[str, int] = field(default_factory=dict)
    _ticks: int = 0

    def take(self, jobs: list[dict[str, Any]]) -> None:
        """A fresh snapshot of every job."""
        for job in jobs:
            self.jobs[job["id"]] = job

    def take_job(self, job: dict[str, Any]) -> None:
        """A change of one job, if it is one of those followed."""
        if job.get("id") in self.jobs:
            self.jobs[job["id"]] = self.jobs[job["id"]] | job

    def take_event(self, job_id: str, event: Mapping[str, Any]) -> Iterator[Text]:
        """A worker's own event; yields what a person should read at once."""
        number = int(event.get("seq") or 0)
        if job_id not in self.jobs or (number and number <= self._seen.get(job_id, 0)):
            return
        self._seen[job_id] = number
        kind = event.get("type")
        if kind in ("step", "progress"):
            self.last[job_id] = dict(event)
            if isinstance(event.get("loss"), int | float):
                self.losses.setdefault(job_id, deque(maxlen=_KEPT_LOSSES)).append(float(event["loss"]))
        elif kind == "phase":
            self.last.pop(job_id, None)
            self.jobs[job_id]["phase"] = event.get("name")
        elif kind == "warned":
            yield styled(("▲ ", "yellow"), str(event.get("message")))
        elif kind == "adjusted":
            change = f"{event.get('field')}: {event.get('old')} → {event.get('new')}, {event.get('reason')}"
            yield styled(("▲ ", "yellow"), change)

    def take_curve(self, job_id: str, losses: list[float]) -> None:
        """The curve of a job that ran before it was followed."""
        self.losses.setdefault(job_id, deque(losses, maxlen=_KEPT_LOSSES))

    def news(self, *, starts: bool) -> Iterator[Text]:
        """Lines not told yet: ends, repeated attempts, and beginnings where no live line shows them."""
        for job in self._in_order():
            state, attempts = str(job.get("state")), int(job.get("attempts") or 0)
            if attempts > 1 and self._tell(job, f"attempt {attempts}"):
                yield styled(("▲ ", "yellow"), f"{job['kind']}: attempt {attempts}, from what was saved")
            if state == "running" and starts and self._tell(job, "running"):
                yield styled(f"· {job['kind']}")
            if state == "paused" and self._tell(job, f"paused {attempts}"):
                yield styled(("▲ ", "yellow"), f"{job['kind']} is paused; `luthier job resume {job['id']}` goes on")
            if state in TERMINAL and not _dropped(job) and self._tell(job, state):
                yield self._ended(job)

    def live(self, width: int) -> Text:
        """The line that shows what goes on now."""
        self._ticks += 1
        spin = _SPIN[self._ticks % len(_SPIN)]
        active = [job for job in self._in_order() if job.get("state") in ("running", "starting", "interrupted")]
        if not active:
            waiting = next((job for job in self._in_order() if job.get("state") not in TERMINAL), None)
            reason = (waiting or {}).get("reason") or "waiting"
            return styled(
                (f"{spin} ", "cyan"), f"{(waiting or {}).get('kind', ''):{_KIND_WIDTH}}", (str(reason), "dim")
            )
        job = active[-1]
        head = [(f"{spin} ", "cyan"), (f"{job['kind']:{_KIND_WIDTH}}", "bold")]
        return styled(*head, *self._details(job, width))

    def _details(self, job: dict[str, Any], width: int) -> list[str | tuple[str, str]]:
        event = self.last.get(job["id"]) or {}
        elapsed = duration_text(seconds_of(job) or 0)
        if event.get("type") == "step" and event.get("steps"):
            return self._training(job, event, width)
        if event.get("type") == "progress" and event.get("total"):
            share = int(event.get("done") or 0) / int(event["total"])
            unit = f" {event['unit']}" if event.get("unit") else ""
            phase = f"{job['phase']}  " if job.get("phase") else ""
            return [phase, (bar(share, 12), "cyan"), f" {event.get('done')}/{event['total']}{unit}  ", (elapsed, "dim")]
        return [str(job.get("phase") or "starting"), (f"  {elapsed}", "dim")]

    def _training(self, job: dict[str, Any], event: dict[str, Any], width: int) -> list[str | tuple[str, str]]:
        step, steps = int(event.get("step") or 0), int(event["steps"])
        loss = event.get("loss")
        parts: list[str | tuple[str, str]] = [(bar(step / steps, 10), "cyan"), f" {step}/{steps}"]
        if isinstance(loss, int | float):
            # A loss falls by powers: on a linear scale all but the first steps would lie flat.
            powers = [math.log(value) for value in self.losses.get(job["id"], ()) if value > 0]
            curve = sparkline(powers, 10 if width >= 76 else 0)
            parts += [f"  loss {loss:.3f} ", (curve, "magenta")]
        if event.get("tokens_per_second"):
            parts.append(f"  {count_text(event['tokens_per_second'])} tok/s")
        if event.get("eta_seconds") is not None:
            parts.append((f"  {duration_text(event['eta_seconds'])} left", "dim"))
        return parts

    def _ended(self, job: dict[str, Any]) -> Text:
        state = str(job["state"])
        mark, style = _MARKS[state]
        error = job.get("error") or {}
        words = result_line(job) if state == "succeeded" else str(error.get("message") or "")
        words = words or state
        took = seconds_of(job) if job.get("started_at") else None
        duration = f"  {duration_text(took)}" if took is not None else ""
        return styled((f"{mark} ", style), f"{job['kind']:{_KIND_WIDTH}}", words.split("\n")[0], (duration, "dim"))

    def _tell(self, job: dict[str, Any], what: str) -> bool:
        key = (job["id"], what)
        fresh = key not in self._told
        self._told.add(key)
        return fresh

    def _in_order(self) -> list[dict[str, Any]]:
        return list(self.jobs.values())


def _dropped(job: Mapping[str, Any]) -> bool:
    """Whether a job ended only because another did, of which more was told already."""
    return (job.get("error") or {}).get("code") == "dependency-failed"
