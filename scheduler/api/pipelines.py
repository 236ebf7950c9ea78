"""Tunes: from a recipe to a served model."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel
from sqlmodel import Session

from appliance.states import TERMINAL, JobState
from scheduler import queue, records, submit
from scheduler.api.app import Parts
from scheduler.api.jobs import Limit, Verb, act_on
from scheduler.house import House, matters, to_redo
from scheduler.pipelines import current, jobs_of
from scheduler.store import jobs, lookup, things
from scheduler.store.tables import PipelineRow

router = APIRouter(prefix="/pipelines")
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


class NewPipeline(BaseModel):
    """A tune as it is asked for."""

    spec: dict[str, Any]


@router.post("", status_code=201)
async def create(house: Parts, asked: NewPipeline, response: Response, key: Key = None) -> dict[str, Any]:
    """Queue a tune. The same key with the same request gives the tune made the first time."""
    digest = queue.digest_of(asked.spec)
    with house.database.write() as session:
        row = things.pipeline_with_key(session, key) if key else None
        if row is not None:
            queue.same_request(str(key), row.request_digest, digest)
            response.status_code = 200
        else:
            row = submit.new_pipeline(session, asked.spec, house.settings)
            things.save(session, row, request_key=key, request_digest=digest)
            rows = jobs_of(row)
            records.write_pipeline(house.paths, row, rows)
            for job in rows:
                queue.enqueue(session, job)
    response.headers["Location"] = f"/api/v1/pipelines/{row.id}"
    return _shown(house, row)


@router.get("")
async def listed(house: Parts, limit: Limit = 100) -> dict[str, Any]:
    """Tunes, newest first, without the results of their single jobs."""
    with house.database.read() as session:
        return {"items": [house.tune(session, row, brief=True) for row in lookup.newest(session, PipelineRow, limit)]}


@router.get("/{key}")
async def one(house: Parts, key: str) -> dict[str, Any]:
    with house.database.read() as session:
        row = house.pipeline_of(session, key)
    return _shown(house, row)


@router.post("/{key}/{verb}", status_code=202)
async def act(house: Parts, key: str, verb: Verb) -> dict[str, Any]:
    """Cancel everything unfinished, pause or resume the job that matters now, or do again from where it went wrong."""
    with house.database.read() as session:
        row = house.pipeline_of(session, key)
        rows = list(current(jobs.of_pipeline(session, row.id)).values())
    if verb is Verb.CANCEL:
        _cancel_all(house, row)
    else:
        chosen = to_redo(rows) if verb is Verb.RERUN else matters(rows)
        act_on(house, chosen.id, verb)
    return _shown(house, row)


def _cancel_all(house: House, row: PipelineRow) -> None:
    """The last jobs first, so that none is told that it was dropped because of another."""
    with house.database.write() as session:
        for job in reversed(_unfinished(session, row.id)):
            queue.cancel(session, job)
    with house.database.read() as session:
        for job in _unfinished(session, row.id):
            house.dispatch.wish_changed(jobs.get(session, job))


def _unfinished(session: Session, pipeline: str) -> list[str]:
    return [row.id for row in jobs.of_pipeline(session, pipeline) if JobState(row.state) not in TERMINAL]


def _shown(house: House, row: PipelineRow) -> dict[str, Any]:
    with house.database.read() as session:
        return house.tune(session, row)
