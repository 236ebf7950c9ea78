"""Jobs: one piece of work each, its events, its curves, its log, and what may be wished of it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from appliance.errors import NotFound
from scheduler import metrics, queue, submit
from scheduler.api.app import Parts
from scheduler.house import House
from scheduler.store import jobs
from scheduler.store.jobs import JobFilter
from scheduler.store.tables import JobRow

router = APIRouter(prefix="/jobs")
Limit = Annotated[int, Query(ge=1, le=1000)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


class Verb(StrEnum):
    """What may be wished of a job."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RERUN = "rerun"


class NewJob(BaseModel):
    """One job as it is asked for."""

    kind: str
    name: str | None = None
    spec: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, Any] | None = None
    depends_on: list[str] = Field(default_factory=list)
    priority: int = 0


@router.post("", status_code=201)
async def create(house: Parts, asked: NewJob, response: Response, key: Key = None) -> dict[str, Any]:
    """Queue one job alone. The same key with the same request gives the job made the first time."""
    digest = queue.digest_of(asked.model_dump())
    with house.database.write() as session:
        row = jobs.with_request_key(session, key) if key else None
        if row is not None:
            queue.same_request(str(key), row.request_digest, digest)
            response.status_code = 200
        else:
            row = submit.new_job(session, asked.model_dump(), house.settings)
            row.request_key, row.request_digest = key, digest
            queue.enqueue(session, row)
    response.headers["Location"] = f"/api/v1/jobs/{row.id}"
    return _shown(house, row.id)


@router.get("")
async def listed(
    house: Parts,
    *,
    state: str | None = None,
    kind: str | None = None,
    pipeline: str | None = None,
    limit: Limit = 100,
    after: int | None = None,
) -> dict[str, Any]:
    """Jobs, newest first; ``next`` is where the following page begins."""
    with house.database.read() as session:
        chosen = house.pipeline_of(session, pipeline).id if pipeline else None
        wanted = JobFilter(state=state, kind=kind, pipeline=chosen, limit=limit + 1, after=after)
        rows = jobs.listed(session, wanted)
        reasons = house.reasons(session, rows)
        items = [house.view.job(row, reasons) for row in rows[:limit]]
    return {"items": items, "next": str(rows[limit - 1].number) if len(rows) > limit else None}


@router.get("/{key}")
async def one(house: Parts, key: str) -> dict[str, Any]:
    return _shown(house, _find(house, key).id)


@router.get("/{key}/events")
async def events(house: Parts, key: str, after: int = 0, limit: Limit = 1000) -> dict[str, Any]:
    """What the job's worker said, oldest first."""
    folder = house.dispatch.supervisor.folder(_find(house, key).id)
    return {"items": await asyncio.to_thread(metrics.events_after, folder.events, after, limit)}


@router.get("/{key}/metrics")
async def curves(house: Parts, key: str, points: Annotated[int, Query(ge=2, le=100_000)] = 200) -> dict[str, Any]:
    """The job's curves, thinned so that no spike is lost."""
    folder = house.dispatch.supervisor.folder(_find(house, key).id)
    return await asyncio.to_thread(metrics.curves, folder.events, points)


@router.get("/{key}/log")
async def log(
    house: Parts, key: str, tail: Annotated[int, Query(ge=0, le=100_000)] = 200, attempt: int | None = None
) -> dict[str, Any]:
    """The end of an attempt's log, of the newest attempt by default."""
    row = _find(house, key)
    folder = house.dispatch.supervisor.folder(row.id)
    number = attempt or row.attempts
    if attempt is not None and not folder.attempt(attempt).is_dir():
        raise NotFound(f"Job {row.id} has no attempt {attempt}; it has {row.attempts}.")
    return {"lines": await asyncio.to_thread(metrics.log_tail, folder.log(number), tail), "attempt": number}


@router.post("/{key}/{verb}", status_code=202)
async def act(house: Parts, key: str, verb: Verb) -> dict[str, Any]:
    """Cancel, pause, resume, or do again; the answer is the job, of a rerun the new one."""
    return _shown(house, act_on(house, _find(house, key).id, verb).id)


def act_on(house: House, id_: str, verb: Verb) -> JobRow:
    """Record a wish and act on it."""
    wish = {Verb.CANCEL: queue.cancel, Verb.PAUSE: queue.pause, Verb.RESUME: queue.resume, Verb.RERUN: queue.rerun}
    with house.database.write() as session:
        row = wish[verb](session, id_)
    house.dispatch.wish_changed(row)
    return row


def _find(house: House, key: str) -> JobRow:
    with house.database.read() as session:
        return house.job_of(session, key)


def _shown(house: House, id_: str) -> dict[str, Any]:
    with house.database.read() as session:
        row = jobs.get(session, id_)
        return house.view.job_in_full(session, row, house.reasons(session, [row]))
