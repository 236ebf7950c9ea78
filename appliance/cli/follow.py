"""Following work until it ends: one live line, one line for each finished phase, through restarts of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from appliance.cli.command import Call
from appliance.cli.feed import LOST, Feed, back_again
from appliance.cli.progress import Progress
from appliance.cli.summary import TERMINAL
from appliance.client import Client
from appliance.errors import DaemonUnreachable, LuthierError, TimedOut, error_from_dict

Fetch = Callable[[Client], dict[str, Any]]
_TICK = 0.2
# Events can be missed; the whole is asked for again after this many seconds.
_REFRESH = 5.0


def follow_pipeline(call: Call, name: str, *, timeout: float | None = None) -> dict[str, Any]:
    """Show a tune until it ends; returns its ``luthier.tune/1``. Raises ``TimedOut`` and ``DaemonUnreachable``."""
    return _follow(call, lambda client: client.pipeline(name), timeout)


def follow_job(call: Call, name: str, *, timeout: float | None = None) -> dict[str, Any]:
    """Show one job until it ends; returns its ``luthier.job/1``."""
    return _follow(call, lambda client: client.job(name), timeout)


def _follow(call: Call, fetch: Fetch, timeout: float | None) -> dict[str, Any]:
    deadline = None if timeout is None else time.monotonic() + timeout
    progress = Progress()
    snapshot = ask(call, fetch)
    _fill_curves(call, progress, snapshot)
    asked_at = time.monotonic()
    with Feed(call) as feed:
        while True:
            for line in progress.news(starts=call.screen.plain):
                call.screen.say(line)
            if snapshot.get("state") in TERMINAL:
                call.screen.clear()
                return snapshot
            if deadline is not None and time.monotonic() > deadline:
                raise _timed_out(snapshot, timeout or 0)
            call.screen.live(progress.live(call.screen.width))
            stale = _take(call, progress, feed)
            if stale or time.monotonic() - asked_at > _REFRESH:
                snapshot = ask(call, fetch)
                progress.take(_jobs(snapshot))
                asked_at = time.monotonic()


def ask(call: Call, fetch: Fetch) -> dict[str, Any]:
    """Ask the daemon, and once more after it came back."""
    for _ in range(2):
        try:
            with Client(call.paths) as client:
                return fetch(client)
        except DaemonUnreachable:
            back_again(call)
    with Client(call.paths) as client:
        return fetch(client)


def outcome(body: dict[str, Any]) -> LuthierError | None:
    """The error that a pipeline or job ended with, or None when it did what it was asked."""
    if body.get("state") == "succeeded":
        return None
    described = body.get("error") or _first_error(body) or {"code": "job-failed"}
    if not described.get("message"):
        described = described | {"message": f"{body.get('name') or body.get('id')} was {body.get('state')}."}
    return error_from_dict(described)


def _first_error(body: dict[str, Any]) -> dict[str, Any] | None:
    """The error of the job that failed first: the others only depended on it."""
    errors = [job["error"] for job in body.get("jobs") or () if job.get("error")]
    own = [error for error in errors if error.get("code") != "dependency-failed"]
    return next(iter(own or errors), None)


def _take(call: Call, progress: Progress, feed: Feed) -> bool:
    """Take in what happened; True when the whole must be asked for again."""
    event = feed.next(_TICK)
    stale = False
    while event is not None:
        name, data = event
        if name == LOST:
            call.screen.warn("The daemon went away; starting it again. Running work goes on without it.")
        elif name == "job":
            progress.take_job(data)
            stale = stale or (data.get("id") in progress.jobs and data.get("state") in TERMINAL)
        elif name == "progress":
            for line in progress.take_event(str(data.get("job")), data.get("event") or {}):
                call.screen.say(line)
        else:
            stale = stale or name in ("reset", "pipeline", "deployment")
        event = feed.next(0.001)
    return stale


def _fill_curves(call: Call, progress: Progress, snapshot: dict[str, Any]) -> None:
    """The part of a running job's curve that was drawn before anyone looked."""
    progress.take(_jobs(snapshot))
    if call.screen.plain:
        return
    for job in _jobs(snapshot):
        if job.get("kind") == "train" and job.get("state") == "running":
            with Client(call.paths) as client:
                losses = client.metrics(job["id"], points=60).get("loss") or []
            progress.take_curve(job["id"], [float(loss) for loss in losses if isinstance(loss, int | float)])


def _jobs(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = snapshot.get("jobs", [snapshot])
    return jobs


def _timed_out(snapshot: dict[str, Any], timeout: float) -> TimedOut:
    name = snapshot.get("pipeline") or snapshot.get("id")
    return TimedOut(
        f"{snapshot.get('name') or name} is still {snapshot.get('state')} after {timeout:.0f} s; it goes on.",
        hint=f"`luthier watch {name}` follows it, `luthier job cancel {name}` ends it.",
    )
