"""Models: made here or added by hand."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from appliance.errors import Conflict
from scheduler import submit, view
from scheduler.api.app import Parts
from scheduler.api.jobs import Limit
from scheduler.store import jobs, lookup, things
from scheduler.store.tables import ModelRow

router = APIRouter(prefix="/models")


class NewModel(BaseModel):
    """A local model folder to be known under a name."""

    path: str
    name: str


@router.get("")
async def listed(house: Parts, limit: Limit = 1000) -> dict[str, Any]:
    with house.database.read() as session:
        return {"items": [view.model(session, row) for row in lookup.newest(session, ModelRow, limit)]}


@router.post("", status_code=201)
async def create(house: Parts, asked: NewModel, response: Response) -> dict[str, Any]:
    """Know a folder under a name; the folder stays where it is."""
    with house.database.write() as session:
        row = submit.new_model(session, asked.path, asked.name)
        things.save(session, row)
        response.headers["Location"] = f"/api/v1/models/{row.id}"
        return view.model(session, row)


@router.get("/{key}")
async def one(house: Parts, key: str) -> dict[str, Any]:
    with house.database.read() as session:
        return view.model(session, lookup.find(session, ModelRow, key, "model"))


@router.delete("/{key}", status_code=204)
async def remove(house: Parts, key: str) -> None:
    """Forget a model; its folder stays. Refused while it is served, used by a job, or the base of another."""
    with house.database.write() as session:
        row = lookup.find(session, ModelRow, key, "model")
        if things.deployment_of(session, row.id) is not None:
            raise Conflict(f"'{row.name}' is being served.", hint=f"`luthier unserve {row.name}` first.")
        user = jobs.using(session, "model", row.path)
        if user is not None:
            raise Conflict(f"'{row.name}' is used by {user.id} ({user.kind}).", hint=f"Cancel {user.id} first.")
        folders = [row.path, *filter(None, [(row.exported or {}).get("merged")])]
        others = (other for folder in folders for other in things.models_on(session, folder))
        # A model added by hand is its own base, and one folder may be known under several names.
        built = next((other for other in others if other.path not in folders), None)
        if built is not None:
            raise Conflict(f"'{row.name}' is the base of '{built.name}'.", hint=f"Remove {built.name} first.")
        things.delete(session, row)
