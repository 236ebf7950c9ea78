"""What a job that succeeded leaves behind: datasets, models, artifacts, deployments. And what its folder tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlmodel import Session

from appliance.jobdir import JobDir
from appliance.text import now_iso
from scheduler import deployments, ids
from scheduler.deployments import Wish, servable
from scheduler.endpoint import Endpoint
from scheduler.follow import Tail
from scheduler.store import things
from scheduler.store.tables import DatasetRow, JobRow, Loading, ModelRow, Stage


def succeeded(session: Session, row: JobRow) -> None:
    """Everything that follows; belongs to the transaction that says it succeeded, so it happens exactly once."""
    register(session, row)
    if row.kind == "parity" and row.pipeline is not None:
        _deploy(session, row.pipeline)


def register(session: Session, row: JobRow) -> None:
    """Enter what a job made into the tables."""
    enter = _REGISTER.get(row.kind)
    if enter is not None:
        enter(session, row, row.result or {})


def endpoint_of(session: Session, pipeline: str, endpoint: Endpoint) -> dict[str, Any] | None:
    """Where the model of a pipeline is served, and under which name; None when it is not."""
    model = things.model_of_pipeline(session, pipeline)
    deployment = things.deployment_of(session, model.id) if model else None
    if deployment is None or deployment.state != Loading.READY or endpoint.base_url is None:
        return None
    return {"base_url": endpoint.base_url, "model": deployment.name}


def newest_checkpoint(folder: JobDir) -> int:
    """The step of the newest committed checkpoint, by its name."""
    steps = (path.name.removeprefix("step-") for path in folder.checkpoints.glob("step-*"))
    return max((int(step) for step in steps if step.isdigit()), default=0)


def attempt_record(folder: JobDir, attempt: int, outcome: str) -> dict[str, Any]:
    """The columns of an ended attempt."""
    exit_record = folder.read_exit(attempt) or {}
    return {
        "ended_at": now_iso(),
        "outcome": outcome,
        "exit_code": exit_record.get("code"),
        "exit_signal": exit_record.get("signal"),
        "peak_memory_bytes": exit_record.get("peak_memory_bytes"),
        "seconds": exit_record.get("seconds"),
    }


def last_words(folder: JobDir, attempt: int) -> Tail:
    """What an attempt's events add up to."""
    tail = Tail(folder.events, attempt)
    while (events := tail.read()) is not None:
        for event in events:
            tail.take_in(event)
    return tail


def _ingested(session: Session, row: JobRow, result: dict[str, Any]) -> None:
    body = dict(result.get("dataset") or {})
    if "path" not in body:
        return
    made = DatasetRow(id=ids.new_id(ids.DATASET), name=row.name, path=str(body["path"]), job=row.id)
    things.save(session, made, body=body | {"id": made.id, "name": row.name})


def _trained(session: Session, row: JobRow, result: dict[str, Any]) -> None:
    body = dict(result.get("model") or {})
    if "path" not in body:
        return
    name = things.free_model_name(session, row.name)
    made = ModelRow(id=ids.new_id(ids.MODEL), name=name, kind=str(body.get("kind")), path=str(body["path"]))
    dataset = things.dataset_at(session, str(row.inputs.get("dataset")))
    values = {"base": body.get("base"), "job": row.id, "pipeline": row.pipeline}
    things.save(session, made, dataset=dataset.id if dataset else None, **values)


def _evaluated(session: Session, row: JobRow, result: dict[str, Any]) -> None:
    model = _model_of(session, row)
    if model is not None:
        things.save(session, model, evaluation=result.get("evaluation"))


def _exported(session: Session, row: JobRow, result: dict[str, Any]) -> None:
    model = _model_of(session, row)
    if model is None:
        return
    fresh = [{**artifact, "parity": artifact.get("parity")} for artifact in result.get("artifacts") or []]
    things.save(session, model, exported=result, artifacts=_merged(model.artifacts, fresh))


def _compared(session: Session, row: JobRow, result: dict[str, Any]) -> None:
    model = _model_of(session, row)
    if model is not None:
        things.save(session, model, artifacts=_merged(model.artifacts, list(result.get("artifacts") or [])))


def _deploy(session: Session, pipeline_id: str) -> None:
    """Serve what a tune made, if that was asked for: live when the gate let it through, else under its own id only."""
    pipeline = things.pipeline(session, pipeline_id)
    model = things.model_of_pipeline(session, pipeline_id)
    if pipeline is None or model is None or not pipeline.spec["serve"]["enabled"]:
        return
    passed = bool(((model.evaluation or {}).get("gate") or {}).get("passed"))
    alias = pipeline.spec["serve"]["alias"] or pipeline.name
    if any(servable(artifact) for artifact in model.artifacts):
        wish = Wish(alias=alias if passed else None, stage=Stage.LIVE if passed else Stage.CANDIDATE)
        deployments.deploy(session, model, wish)


def _model_of(session: Session, row: JobRow) -> ModelRow | None:
    """The model that a job was given."""
    given = row.inputs.get("model")
    path = given.get("path") if isinstance(given, dict) else None
    return things.model_at(session, str(Path(path))) if path else None


def _merged(present: list[dict[str, Any]], fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The artifacts of a model, the newest of each format."""
    return list({artifact["format"]: artifact for artifact in [*present, *fresh]}.values())


_REGISTER = {
    "ingest": _ingested,
    "train": _trained,
    "evaluate": _evaluated,
    "export": _exported,
    "parity": _compared,
}
