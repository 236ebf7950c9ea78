"""Rebuilding the database from the job folders: each tells what it was asked, and what came of it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session

from appliance.errors import Conflict, CorruptFolder, FileNotFound
from appliance.jobdir import Job, JobDir, is_leased
from appliance.paths import Paths
from appliance.states import JobState
from appliance.text import now_iso
from scheduler import deployments, outcomes, queue, records
from scheduler.deployments import Wish
from scheduler.pipelines import jobs_of
from scheduler.placement import SERVE
from scheduler.settle import Ended, judge
from scheduler.store import jobs, lookup, things
from scheduler.store.database import Database
from scheduler.store.tables import AttemptRow, JobRow, ModelRow, PipelineRow, Stage

logger = logging.getLogger(__name__)


def recover(database: Database, paths: Paths) -> dict[str, int]:
    """Index every job folder and tune. Raises ``Conflict`` unless the database has no jobs yet.

    What the folders do not tell is lost: jobs alone that never started, that something was removed, and what was
    wished. A job whose attempt broke off may have been cancelled or paused, so it is paused and a person resumes it;
    only the endpoint's server goes on by itself, because what it is to serve is in its folder.
    """
    with database.write() as session:
        if jobs.listed(session, jobs.JobFilter(limit=1)):
            raise Conflict("The database has jobs: it is not rebuilt over them.", hint="Move it away first.")
        planned = _pipelines(session, paths)
        folders = sorted(_folders(paths), key=lambda pair: pair[1].created_at)
        order = _in_order(folders, planned)
        for row in order:
            jobs.add(session, row)
        for folder, job in folders:
            _attempts(session, folder, job)
        _consequences(session, order)
        for folder, job in folders:
            if job.kind == SERVE and jobs.get(session, job.id).state in (JobState.RUNNING, JobState.QUEUED):
                _deployments(session, folder)
    return {"jobs": len(order), "pipelines": len({row.pipeline for row in planned})}


def _consequences(session: Session, order: list[JobRow]) -> None:
    """What ended jobs made and prevented, in the order in which they came."""
    for row in order:
        if row.state == JobState.SUCCEEDED:
            outcomes.register(session, jobs.get(session, row.id))
    for row in order:
        if row.state in (JobState.FAILED, JobState.CANCELLED):
            queue.drop_dependents(session, row.id)


def _pipelines(session: Session, paths: Paths) -> list[JobRow]:
    """Insert the tunes; returns their jobs as they were first planned."""
    planned = []
    for body in records.read_pipelines(paths):
        listed = body["jobs"]
        row = PipelineRow(**{key: value for key, value in body.items() if key not in ("schema", "jobs")})
        things.save(session, row)
        for made, was in zip(jobs_of(row), listed, strict=True):
            made.id, made.depends_on, made.created_at = was["id"], was["depends_on"], was["created_at"]
            made.state = JobState.BLOCKED
            planned.append(made)
    return planned


def _folders(paths: Paths) -> list[tuple[JobDir, Job]]:
    found = []
    for path in paths.jobs.glob("j-*"):
        try:
            found.append((JobDir(path), JobDir(path).read()))
        except (FileNotFound, CorruptFolder) as error:
            logger.warning("A job folder is left out.", extra={"folder": str(path), "why": error.message})
    return found


def _in_order(folders: list[tuple[JobDir, Job]], planned: list[JobRow]) -> list[JobRow]:
    """A row for each job, folders first-hand, the rest as planned, in the order in which they came."""
    by_id = {row.id: row for row in planned}
    rows = list(planned)
    for folder, job in folders:
        row = by_id.get(job.id)
        if row is None:
            row = JobRow(id=job.id, kind=job.kind, name=job.name, state="", pipeline=job.pipeline, spec=dict(job.spec))
            rows.append(row)
        _fill(row, folder, job)
    return sorted(rows, key=lambda row: row.created_at)


def _fill(row: JobRow, folder: JobDir, job: Job) -> None:
    """What the folder says of the job."""
    last = folder.last_attempt()
    row.inputs, row.device, row.created_at, row.attempts = dict(job.inputs), job.device, job.created_at, last
    row.checkpoint = outcomes.newest_checkpoint(folder)
    if last == 0:
        row.state = JobState.QUEUED
        return
    row.started_at = job.created_at
    if is_leased(folder.lease(last)):
        row.state = JobState.RUNNING
        return
    verdict = judge(Ended(kind=job.kind, result=folder.read_result(last), exit=folder.read_exit(last)))
    row.state, row.result, row.error = verdict.state, verdict.result, verdict.error
    if verdict.state is JobState.QUEUED and job.kind != SERVE:
        row.state = JobState.PAUSED
    row.progress = outcomes.last_words(folder, last).progress
    if verdict.state is not JobState.QUEUED:
        row.ended_at = _written(folder.result_file(last))


def _attempts(session: Session, folder: JobDir, job: Job) -> None:
    for number in range(1, folder.last_attempt() + 1):
        result: dict[str, Any] = folder.read_result(number) or {}
        outcome = "ok" if result.get("ok") else str((result.get("error") or {}).get("code") or "worker-died")
        session.add(AttemptRow(job=job.id, number=number, **outcomes.attempt_record(folder, number, outcome)))
    session.flush()


def _deployments(session: Session, folder: JobDir) -> None:
    """What the server was told to serve, as far as the models are still known."""
    try:
        told = json.loads((folder.path / deployments.MODELS).read_bytes())["models"]
    except (FileNotFoundError, ValueError, KeyError):
        return
    for entry in told:
        model = lookup.find_or_none(session, ModelRow, str(entry["id"]), "model")
        artifact = next((made for made in model.artifacts if made["path"] == entry["path"]), None) if model else None
        if model is not None and artifact is not None:
            passed = bool(((model.evaluation or {}).get("gate") or {}).get("passed"))
            stage = Stage.LIVE if passed or entry["aliases"] else Stage.CANDIDATE
            alias = next(iter(entry["aliases"]), model.name if passed else None)
            deployments.deploy(session, model, Wish(alias=alias, stage=stage, format=artifact["format"]))


def _written(path: Path) -> str:
    try:
        moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return now_iso()
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
