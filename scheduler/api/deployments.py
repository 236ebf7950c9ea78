"""Deployments: what the inference endpoint serves, and where the endpoint is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from scheduler import deployments as serving
from scheduler import ids
from scheduler.api.app import Parts
from scheduler.deployments import Wish
from scheduler.store import lookup, things
from scheduler.store.tables import ModelRow, Stage

router = APIRouter()


class NewDeployment(BaseModel):
    """How a model is to be served; an alias given by a person makes it live."""

    model: str
    alias: str | None = None
    format: str | None = None


@router.get("/deployments")
async def listed(house: Parts) -> dict[str, Any]:
    with house.database.read() as session:
        return {"items": [house.view.deployment(session, row) for row in things.deployments(session)]}


@router.post("/deployments", status_code=201)
async def create(house: Parts, asked: NewDeployment, response: Response) -> dict[str, Any]:
    """Serve a model. It is loaded under its own id first and takes its alias over when it is ready."""
    if asked.alias is not None:
        ids.check_name(asked.alias, "model on the endpoint")
    with house.database.write() as session:
        model = lookup.find(session, ModelRow, asked.model, "model")
        passed = bool(((model.evaluation or {}).get("gate") or {}).get("passed"))
        stage = Stage.LIVE if passed or asked.alias else Stage.CANDIDATE
        wish = Wish(alias=asked.alias or (model.name if passed else None), stage=stage, format=asked.format)
        row = serving.deploy(session, model, wish)
        house.dispatch.changed_deployments(session)
        response.headers["Location"] = f"/api/v1/deployments/{row.id}"
        return house.view.deployment(session, row)


@router.delete("/deployments/{key}", status_code=204)
async def remove(house: Parts, key: str) -> None:
    """Stop serving, by deployment, model or alias. The server ends with the last."""
    with house.database.write() as session:
        serving.undeploy(session, key)
        house.dispatch.changed_deployments(session)
        ending = serving.stopping(session)
    for row in ending:
        house.dispatch.wish_changed(row)


@router.get("/endpoint")
async def endpoint(house: Parts) -> dict[str, Any]:
    with house.database.read() as session:
        serving.require_endpoint(list(things.deployments(session)))
        return house.view.endpoint_of(session) or {}
