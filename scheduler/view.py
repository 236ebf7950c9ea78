"""Rows as clients see them: the schemas of the control API, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from appliance.states import ACTIVE, JobState
from scheduler import pipelines
from scheduler.endpoint import Endpoint
from scheduler.follow import Follower
from scheduler.placement import SERVE
from scheduler.store import jobs, things
from scheduler.store.tables import AttemptRow, DatasetRow, DeploymentRow, JobRow, Loading, ModelRow, PipelineRow
from scheduler.supervisor import Supervisor


@dataclass(frozen=True)
class View:
    """What is needed to describe things beyond their rows."""

    supervisor: Supervisor
    follower: Follower
    endpoint: Endpoint

    def job(self, row: JobRow, reasons: Mapping[str, str], *, brief: bool = False) -> dict[str, Any]:
        """``luthier.job/1``; ``brief`` leaves the result out."""
        tail = self.follower.of(row.id) if JobState(row.state) in ACTIVE else None
        return {
            "schema": "luthier.job/1",
            "id": row.id,
            "kind": row.kind,
            "name": row.name,
            "state": row.state,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "progress": (tail.progress if tail else None) or row.progress,
            "phase": tail.phase if tail else None,
            "result": None if brief else row.result,
            "error": row.error,
            "pipeline": row.pipeline,
            "depends_on": row.depends_on,
            "rerun_of": row.rerun_of,
            "priority": row.priority,
            "attempts": row.attempts,
            "folder": str(self.supervisor.folder(row.id).path),
            "device": row.device,
            "reason": _reason(row, reasons),
            "cancel_requested": row.cancel_requested,
            "pause_requested": row.pause_requested,
        }

    def job_in_full(self, session: Session, row: JobRow, reasons: Mapping[str, str]) -> dict[str, Any]:
        """``luthier.job/1`` with what was asked and every attempt."""
        tries = [attempt(found) for found in jobs.attempts(session, row.id)]
        more = {"spec": row.spec, "inputs": row.inputs, "history": tries, "pid": self.supervisor.pid(row.id)}
        return self.job(row, reasons) | more

    def pipeline(
        self,
        session: Session,
        row: PipelineRow,
        rows: Mapping[str, JobRow],
        reasons: Mapping[str, str],
        *,
        brief: bool = False,
    ) -> dict[str, Any]:
        """``luthier.tune/1`` of a pipeline's newest jobs; ``brief`` leaves the results of those single jobs out."""
        body = pipelines.assemble(row, rows)
        if "ingest" in rows and body["dataset"]:
            made = things.dataset_of_job(session, rows["ingest"].id)
            body["dataset"] = {**body["dataset"], "id": made.id if made else None, "name": row.name}
        model = things.model_of_pipeline(session, row.id)
        found = things.deployment_of(session, model.id) if model else None
        body["model"] = model.name if model else None
        body["model_id"] = model.id if model else None
        body["deployment"] = self.deployment(session, found) if found else None
        if found is not None and found.state == Loading.FAILED and body["state"] == JobState.SUCCEEDED:
            body["state"], body["error"] = JobState.FAILED, _not_served(found)
        body["jobs"] = [self.job(job, reasons, brief=brief) for job in rows.values()]
        return body

    def deployment(self, session: Session, row: DeploymentRow) -> dict[str, Any]:
        """``luthier.deployment/1``; ``model`` is what an OpenAI client names."""
        model = things.model(session, row.model)
        return {
            "schema": "luthier.deployment/1",
            "id": row.id,
            "model": row.name,
            "model_id": row.model,
            "job": model.job if model else None,
            "alias": row.alias,
            "stage": row.stage,
            "state": row.state,
            "message": row.message,
            "base_url": self.endpoint.base_url,
            "artifact": row.artifact,
            "created_at": row.created_at,
        }

    def endpoint_of(self, session: Session) -> dict[str, Any] | None:
        """The inference endpoint, None when nothing is served."""
        rows = list(things.deployments(session))
        if not rows:
            return None
        server = next(iter(jobs.unfinished_of(session, SERVE)), None)
        loaded = [row for row in rows if row.state == Loading.READY]
        names = [name for row in loaded for name in (row.name, row.alias) if name]
        return {
            "base_url": self.endpoint.base_url,
            "state": self.endpoint.state(rows, server),
            "models": list(dict.fromkeys(names)),
            "pid": self.supervisor.pid(server.id) if server else None,
            "job": server.id if server else None,
        }


def dataset(row: DatasetRow) -> dict[str, Any]:
    """``luthier.dataset/1``."""
    own = {"schema": "luthier.dataset/1", "id": row.id, "name": row.name, "path": row.path, "job": row.job}
    return row.body | own | {"created_at": row.created_at}


def model(session: Session, row: ModelRow) -> dict[str, Any]:
    """``luthier.model/1``."""
    deployment = things.deployment_of(session, row.id)
    return {
        "schema": "luthier.model/1",
        "id": row.id,
        "name": row.name,
        "stage": row.stage,
        "base": row.base,
        "kind": row.kind,
        "path": row.path,
        "job": row.job,
        "pipeline": row.pipeline,
        "dataset": row.dataset,
        "evaluation": row.evaluation,
        "merged": (row.exported or {}).get("merged"),
        "artifacts": row.artifacts,
        "deployment": deployment.id if deployment else None,
        "created_at": row.created_at,
    }


def attempt(row: AttemptRow) -> dict[str, Any]:
    """One attempt of a job."""
    return row.model_dump(exclude={"job"})


def _reason(row: JobRow, reasons: Mapping[str, str]) -> str | None:
    """Why a job is not running, or not for long, in one sentence."""
    if row.cancel_requested:
        return "Being cancelled: it stops at its next safe point."
    if row.pause_requested:
        return "Being paused: it stops at its next checkpoint."
    if row.state == JobState.BLOCKED:
        return f"Waits for {', '.join(row.depends_on)}."
    if row.state == JobState.PAUSED:
        return f"Paused; `luthier job resume {row.id}` continues it."
    return reasons.get(row.id)


def _not_served(row: DeploymentRow) -> dict[str, Any]:
    return {
        "schema": "luthier.error/1",
        "code": "not-served",
        "message": f"'{row.name}' was made, but the endpoint could not load it: {row.message or 'no reason given'}",
        "hint": "`luthier serve` tries again; the server's log says more.",
        "where": row.id,
        "fixes": [],
    }
