"""The queue: jobs enter it, are claimed, move, and carry wishes. Every change is one compare-and-set.

Functions of an open write session: whoever calls them decides what else belongs to the same transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlmodel import Session

from appliance.errors import Conflict, IllegalTransition
from appliance.states import ACTIVE, TERMINAL, JobState
from appliance.text import now_iso
from scheduler import ids
from scheduler.store import jobs
from scheduler.store.jobs import Brief
from scheduler.store.tables import JobRow


def enqueue(session: Session, row: JobRow) -> JobRow:
    """Insert a job, blocked while what it depends on has not succeeded. Raises ``Conflict`` when it never can."""
    waits = False
    for id_ in row.depends_on:
        state = JobState(jobs.get(session, id_).state)
        if state in (JobState.FAILED, JobState.CANCELLED):
            raise Conflict(f"The job depends on {id_}, which is {state}.", hint=f"Rerun {id_} first.")
        waits = waits or state is not JobState.SUCCEEDED
    row.state = JobState.BLOCKED if waits else JobState.QUEUED
    jobs.add(session, row)
    return row


def move(session: Session, id_: str, target: JobState, **values: Any) -> JobRow:
    """Change a job's state. Raises ``IllegalTransition`` when the table of transitions has no such way."""
    if target in TERMINAL:
        values = {"ended_at": now_iso(), "cancel_requested": False, "pause_requested": False} | values
    if not jobs.change_state(session, id_, target, **values):
        row = jobs.get(session, id_)
        raise IllegalTransition(f"Job {id_} is {row.state}; it cannot become {target} from there.")
    return jobs.get(session, id_)


def claim(session: Session, id_: str, device: str | None) -> bool:
    """Take a queued job for starting: counts the attempt. False when it is no longer queued."""
    row = jobs.get(session, id_)
    number = row.attempts + 1
    started = row.started_at or now_iso()
    values = {"attempts": number, "device": row.device or device, "started_at": started, "error": None}
    if row.state != JobState.QUEUED or not jobs.change_state(session, id_, JobState.STARTING, **values):
        return False
    jobs.open_attempt(session, id_, number)
    return True


def unclaim(session: Session, id_: str) -> None:
    """Put a claimed job back whose attempt never began; the attempt is not counted."""
    row = jobs.get(session, id_)
    jobs.drop_attempt(session, id_, row.attempts)
    move(session, id_, JobState.QUEUED, attempts=row.attempts - 1)


def cancel(session: Session, id_: str) -> JobRow:
    """End a job that does not run, or wish that the running one ends. Raises ``Conflict`` when it has ended."""
    row = _unfinished(session, id_, "cancelled")
    if JobState(row.state) in ACTIVE:
        jobs.change(session, id_, cancel_requested=True, pause_requested=False)
    else:
        move(session, id_, JobState.CANCELLED)
        drop_dependents(session, id_)
    return jobs.get(session, id_)


def pause(session: Session, id_: str) -> JobRow:
    """Hold a queued job, or wish that the running one stops at its next checkpoint. Raises ``Conflict``."""
    row = _unfinished(session, id_, "paused")
    if JobState(row.state) in ACTIVE:
        if row.cancel_requested:
            raise Conflict(f"Job {id_} is being cancelled.")
        jobs.change(session, id_, pause_requested=True)
    elif row.state == JobState.QUEUED:
        move(session, id_, JobState.PAUSED)
    elif row.state != JobState.PAUSED:
        raise Conflict(f"Job {id_} is {row.state}: only a queued or running job can be paused.")
    return jobs.get(session, id_)


def resume(session: Session, id_: str) -> JobRow:
    """Queue a paused job again, or withdraw the wish to pause. Raises ``Conflict``."""
    row = jobs.get(session, id_)
    if row.state == JobState.PAUSED:
        return move(session, id_, JobState.QUEUED, pause_requested=False, fruitless=0)
    if JobState(row.state) in ACTIVE and row.pause_requested:
        jobs.change(session, id_, pause_requested=False)
        return jobs.get(session, id_)
    hint = "`luthier job rerun` does it again." if JobState(row.state) in TERMINAL else None
    raise Conflict(f"Job {id_} is {row.state}, not paused.", hint=hint)


def rerun(session: Session, id_: str) -> JobRow:
    """Do an ended job again, with everything in its pipeline that was built on it. Raises ``Conflict``."""
    first = jobs.get(session, id_)
    chain = [first, *_followers(session, first)]
    for row in chain:
        if JobState(row.state) not in TERMINAL:
            raise Conflict(f"Job {row.id} ({row.kind}) is still {row.state}.", hint=f"Cancel {row.id} first.")
    renamed = {row.id: ids.new_id(ids.JOB) for row in chain}
    for row in chain:
        copy = JobRow(id=renamed[row.id], kind=row.kind, name=row.name, state="", pipeline=row.pipeline, spec=row.spec)
        # In a tune, inputs are what the jobs before it make, and those may be done again too.
        copy.inputs = {} if row.pipeline else row.inputs
        copy.priority, copy.rerun_of = row.priority, row.id
        copy.depends_on = [renamed.get(dependency, dependency) for dependency in row.depends_on]
        enqueue(session, copy)
    return jobs.get(session, renamed[id_])


def release_ready(session: Session, hold: Callable[[Brief], bool]) -> list[str]:
    """Queue every blocked job whose dependencies have all succeeded and that nothing else holds; returns their ids."""
    blocked = jobs.briefly(session, [JobState.BLOCKED])
    done = jobs.succeeded_among(session, {id_ for job in blocked for id_ in job.depends_on})
    ready = [job.id for job in blocked if done.issuperset(job.depends_on) and not hold(job)]
    for id_ in ready:
        move(session, id_, JobState.QUEUED)
    return ready


def drop_dependents(session: Session, id_: str) -> None:
    """Cancel the jobs that can never start because this one did not succeed."""
    cause = jobs.get(session, id_)
    for dependent in jobs.dependents(session, id_):
        error = {
            "schema": "luthier.error/1",
            "code": "dependency-failed",
            "message": f"It needed {cause.kind} {cause.id}, which was {cause.state}.",
            "hint": f"`luthier job rerun {cause.id}` does both again.",
            "where": cause.id,
            "fixes": [],
        }
        move(session, dependent, JobState.CANCELLED, error=error)
        drop_dependents(session, dependent)


def same_request(key: str, present: str | None, digest: str) -> None:
    """Raise ``Conflict`` when an idempotency key comes back with another request."""
    if present != digest:
        raise Conflict(
            f"The Idempotency-Key {key!r} was used for another request.", hint="Use a new key for a new request."
        )


def digest_of(body: Mapping[str, Any]) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _unfinished(session: Session, id_: str, wish: str) -> JobRow:
    row = jobs.get(session, id_)
    if JobState(row.state) in TERMINAL:
        raise Conflict(f"Job {id_} has already {_ended(row.state)}; it cannot be {wish}.")
    return row


def _ended(state: str) -> str:
    return "been cancelled" if state == JobState.CANCELLED else state


def _followers(session: Session, first: JobRow) -> list[JobRow]:
    """The newest jobs of the same pipeline that depend on ``first``, in their order."""
    if first.pipeline is None:
        return []
    found = {first.id}
    rows = []
    replaced = {row.rerun_of for row in jobs.of_pipeline(session, first.pipeline)}
    for row in jobs.of_pipeline(session, first.pipeline):
        if row.id not in replaced and found & set(row.depends_on):
            found.add(row.id)
            rows.append(row)
    return rows
