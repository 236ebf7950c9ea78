"""Datasets: files taken in, with a ledger of what became of every row."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query

from appliance.errors import Conflict, FileNotFound
from scheduler import view
from scheduler.api.app import Parts
from scheduler.api.jobs import Limit
from scheduler.store import jobs, lookup, things
from scheduler.store.tables import DatasetRow

router = APIRouter(prefix="/datasets")


@router.get("")
async def listed(house: Parts, limit: Limit = 1000) -> dict[str, Any]:
    with house.database.read() as session:
        return {"items": [view.dataset(row) for row in lookup.newest(session, DatasetRow, limit)]}


@router.get("/{key}")
async def one(house: Parts, key: str) -> dict[str, Any]:
    with house.database.read() as session:
        return view.dataset(lookup.find(session, DatasetRow, key, "dataset"))


@router.get("/{key}/rows")
async def rows(
    house: Parts, key: str, state: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> dict[str, Any]:
    """Lines of the ledger, in the order of the file."""
    with house.database.read() as session:
        row = lookup.find(session, DatasetRow, key, "dataset")
    return {"items": await asyncio.to_thread(ledger_lines, Path(row.path) / "ledger.jsonl", state, limit)}


@router.delete("/{key}", status_code=204)
async def remove(house: Parts, key: str) -> None:
    """Forget a dataset; its folder stays with the job that made it. Refused while a job works on it."""
    with house.database.write() as session:
        row = lookup.find(session, DatasetRow, key, "dataset")
        user = jobs.using(session, "dataset", row.path)
        if user is not None:
            raise Conflict(f"Dataset '{row.name}' is used by {user.id} ({user.kind}).", hint=f"Cancel {user.id} first.")
        things.delete(session, row)


def ledger_lines(path: Path, state: str | None, limit: int) -> list[dict[str, Any]]:
    """The first lines of a ledger of ours that are in a state. Raises ``FileNotFound``."""
    try:
        with path.open(encoding="utf-8") as stream:
            lines = (json.loads(line) for line in stream)
            return list(islice((line for line in lines if state is None or line.get("state") == state), limit))
    except FileNotFoundError as error:
        raise FileNotFound(f"The ledger {path} is gone.", where=str(path)) from error
