"""The daemon itself: how it is, its devices, its end."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from scheduler.api.app import Parts
from scheduler.store import jobs

router = APIRouter()


class Shutdown(BaseModel):
    """How to end."""

    stop_jobs: bool = False


@router.get("/status")
async def status(house: Parts) -> dict[str, Any]:
    with house.database.read() as session:
        return house.status(session)


@router.get("/devices")
async def devices(house: Parts) -> dict[str, Any]:
    with house.database.read() as session:
        return {"items": house.device_list(session)}


@router.post("/shutdown", status_code=202)
async def shutdown(house: Parts, asked: Shutdown | None = None) -> dict[str, Any]:
    """End the daemon; running jobs go on without it, unless they are to be stopped (they resume at the next start)."""
    stopped = []
    if asked is not None and asked.stop_jobs:
        with house.database.read() as session:
            stopped = [row.id for row in jobs.active(session)]
        for job in stopped:
            house.dispatch.supervisor.stop(job)
    house.leave()
    return {"stopping": True, "stopped_jobs": stopped}
