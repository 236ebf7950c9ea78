"""What the endpoint serves: the rows of deployments, the server's ``models.json``, and what the server says back.

There is one job of kind ``serve`` while anything is deployed. A newcomer is loaded under its own id first; when it
is ready and live it takes its alias over, and whatever answered to that name before leaves. One that cannot be
loaded leaves everything as it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from appliance import durable
from appliance.errors import Conflict, NotFound
from appliance.events import EventType
from appliance.jobdir import JobDir
from scheduler import ids, queue
from scheduler.placement import SERVE
from scheduler.store import jobs, lookup, things
from scheduler.store.tables import DeploymentRow, JobRow, Loading, ModelRow, Stage

MODELS = "models.json"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How a model is to be served."""

    alias: str | None = None
    stage: Stage = Stage.CANDIDATE
    format: str | None = None
    """None takes the smallest GGUF that passed parity."""


def deploy(session: Session, model: ModelRow, wish: Wish) -> DeploymentRow:
    """Serve a model, or serve it otherwise than now. Raises ``Conflict`` when it has no artifact to serve."""
    artifact = choose_artifact(model, wish.format)
    row: DeploymentRow | None = things.deployment_of(session, model.id)
    values: dict[str, Any] = {"alias": wish.alias, "stage": str(wish.stage), "artifact": artifact}
    values["tokenizer"] = (model.exported or {}).get("merged") or model.path
    if row is None:
        row = DeploymentRow(id=ids.new_id(ids.DEPLOYMENT), model=model.id, name=model.name)
        values["state"] = str(Loading.LOADING)
    elif row.artifact.get("path") != artifact["path"] or row.state == Loading.FAILED:
        values.update(state=str(Loading.LOADING), message=None)
    things.save(session, row, **values)
    if row.state == Loading.READY:
        take_alias(session, row)
    ensure_server(session)
    return row


def undeploy(session: Session, key: str) -> DeploymentRow:
    """Stop serving what an id, a model or an alias means; the server ends with the last one. Raises ``NotFound``."""
    row = find(session, key)
    things.delete(session, row)
    _retire(session, row)
    if not things.deployments(session):
        for server in servers(session):
            queue.cancel(session, server.id)
    return row


def find(session: Session, key: str) -> DeploymentRow:
    """A deployment by its id, alias, or model. Raises ``NotFound``."""
    rows = things.deployments(session)
    for row in rows:
        if key in (row.id, row.alias, row.name, row.model):
            return row
    model = lookup.find_or_none(session, ModelRow, key, "model")
    found = things.deployment_of(session, model.id) if model is not None else None
    if found is None:
        found = lookup.find(session, DeploymentRow, key, "deployment")
    return found


def choose_artifact(model: ModelRow, format_: str | None) -> dict[str, Any]:
    """The artifact to serve. Raises ``Conflict``, saying what is missing."""
    fit = [artifact for artifact in model.artifacts if str(artifact.get("format", "")).startswith("gguf:")]
    if format_ is not None:
        fit = [artifact for artifact in fit if artifact["format"] == format_]
    proven = [artifact for artifact in fit if servable(artifact)]
    if proven:
        return min(proven, key=lambda artifact: int(artifact.get("bytes") or 0))
    what = f"as {format_}" if format_ else "as GGUF"
    why = "none has passed its parity check" if fit else "it has none"
    raise Conflict(
        f"'{model.name}' cannot be served {what}: {why}.",
        hint=f"`luthier model export {model.name}` makes an artifact and checks it.",
    )


def servable(artifact: Mapping[str, Any]) -> bool:
    """Whether an engine here can load it and it answers like the trained model."""
    passed = bool((artifact.get("parity") or {}).get("passed"))
    return passed and str(artifact.get("format", "")).startswith("gguf:")


def servers(session: Session) -> list[JobRow]:
    """The server jobs that have not ended and are not asked to."""
    return [row for row in jobs.unfinished_of(session, SERVE) if not row.cancel_requested]


def stopping(session: Session) -> list[JobRow]:
    """The server jobs that are asked to end and have not."""
    return [row for row in jobs.unfinished_of(session, SERVE) if row.cancel_requested]


def ensure_server(session: Session) -> None:
    """Have one server job while anything is deployed."""
    if things.deployments(session) and not servers(session):
        row = JobRow(id=ids.new_id(ids.JOB), kind=SERVE, name="endpoint", state="")
        queue.enqueue(session, row)
        for deployment in things.deployments(session):
            things.save(session, deployment, state=str(Loading.LOADING), message=None)


def server_began(session: Session) -> None:
    """A new server process knows nothing yet: everything is being loaded again."""
    for row in things.deployments(session):
        if row.state != Loading.LOADING:
            things.save(session, row, state=str(Loading.LOADING), message=None)


def give_up(session: Session, ids_: Collection[str], message: str) -> None:
    """Stop waiting for models that the server neither loaded nor refused."""
    for row in things.deployments(session):
        if row.id in ids_ and row.state == Loading.LOADING:
            things.save(session, row, state=str(Loading.FAILED), message=message)


def server_failed(session: Session, message: str) -> None:
    """The server was given up: nothing is served."""
    for row in things.deployments(session):
        things.save(session, row, state=str(Loading.FAILED), message=message)


def heard(session: Session, event: Mapping[str, Any]) -> bool:
    """Take in what the server says of a model; True when that changed a deployment."""
    if event["type"] != EventType.LOADED:
        return False
    row = next((row for row in things.deployments(session) if row.name == event.get("model")), None)
    state = Loading.READY if event.get("ok") else Loading.FAILED
    if row is None or row.state == state:
        return False
    message = event.get("message")
    things.save(session, row, state=str(state), message=str(message) if message and not event.get("ok") else None)
    if state is Loading.READY:
        take_alias(session, row)
    return True


def take_alias(session: Session, row: DeploymentRow) -> None:
    """Let a ready, live deployment answer to its alias; whatever did before leaves the endpoint."""
    model = things.model(session, row.model)
    if model is not None and model.stage != row.stage:
        things.save(session, model, stage=row.stage)
    if row.alias is None or row.stage != Stage.LIVE:
        return
    for other in things.deployments(session):
        if other.id != row.id and row.alias in (other.alias, other.name):
            things.delete(session, other)
            _retire(session, other)


def _retire(session: Session, row: DeploymentRow) -> None:
    """A model that is not served is a candidate."""
    model = things.model(session, row.model)
    if model is not None:
        things.save(session, model, stage=str(Stage.CANDIDATE))


def write_models(session: Session, folder: JobDir) -> None:
    """Tell the server what to serve, if that differs from what it was told."""
    rows = things.deployments(session)
    body = {"models": [_served(row) for row in rows]}
    path = folder.path / MODELS
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        durable.write_text(path, text)


def _served(row: DeploymentRow) -> dict[str, Any]:
    named = row.alias is not None and row.alias != row.name and row.stage == Stage.LIVE and row.state == Loading.READY
    return {
        "id": row.name,
        "aliases": [row.alias] if named else [],
        "engine": "llama_cpp",
        "path": row.artifact["path"],
        "tokenizer": row.tokenizer,
        "created": int(datetime.fromisoformat(row.created_at).timestamp()),
    }


def require_endpoint(rows: list[DeploymentRow]) -> None:
    """Raise ``NotFound`` when nothing is served."""
    if not rows:
        raise NotFound("Nothing is served.", hint="`luthier serve MODEL` serves a model.")
