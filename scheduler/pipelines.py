"""A tune as jobs: which there are, what each is given, and what they add up to. Pure.

ingest ─► plan ─► train ─► evaluate ─► export ─► parity ─► (deployment) ─► report
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.states import ACTIVE, TERMINAL, JobState
from scheduler import ids
from scheduler.bases import HUB
from scheduler.store.tables import JobRow, PipelineRow

STEPS = ("ingest", "plan", "train", "evaluate", "export", "parity", "report")
FETCH = "fetch"
"""Comes first when the base model is on the hub and not on this machine."""


@dataclass(frozen=True)
class Made:
    """What an earlier job of the same pipeline made, and where."""

    result: Mapping[str, Any]
    folder: str


def jobs_of(pipeline: PipelineRow) -> list[JobRow]:
    """The jobs of a new pipeline, each depending on the one before it."""
    rows: list[JobRow] = []
    for kind in (FETCH, *STEPS) if pipeline.base.startswith(HUB) else STEPS:
        row = JobRow(id=ids.new_id(ids.JOB), kind=kind, name=pipeline.name, state="", pipeline=pipeline.id)
        row.spec = _spec_of(kind, pipeline)
        row.depends_on = [rows[-1].id] if rows else []
        rows.append(row)
    return rows


def inputs_of(kind: str, base: str | None, made: Mapping[str, Made]) -> dict[str, Any]:
    """What a job is given, from what the jobs before it made."""
    results = {step: thing.result for step, thing in made.items()}
    base = results.get(FETCH, {}).get("base", base)
    dataset = results.get("ingest", {}).get("dataset", {}).get("path")
    model = results.get("train", {}).get("model")
    if kind == "ingest":
        return {"base": base}
    if kind in ("plan", "train"):
        return {"dataset": dataset, "base": base}
    if kind in ("evaluate", "export"):
        return {"model": model, "dataset": dataset}
    if kind == "parity":
        exported = dict(results.get("export", {}))
        return exported | {"model": model, "tokenizer": exported.get("merged")}
    steps = {step: results.get(step) for step in STEPS if step != "report"}
    return steps | {"train_folder": made["train"].folder if "train" in made else None, "endpoint": None}


def current(rows: Sequence[JobRow]) -> dict[str, JobRow]:
    """The newest job of each kind: a rerun takes the place of what it reran."""
    return {row.kind: row for row in rows}


def state_of(rows: Mapping[str, JobRow]) -> str:
    """running, paused, succeeded, failed or cancelled."""
    states = {JobState(row.state) for row in rows.values()}
    if JobState.PAUSED in states and not states & ACTIVE:
        return JobState.PAUSED
    if states - TERMINAL:
        return JobState.RUNNING
    for state in (JobState.FAILED, JobState.CANCELLED):
        if state in states:
            return state
    return JobState.SUCCEEDED


def error_of(rows: Mapping[str, JobRow]) -> dict[str, Any] | None:
    """Why a pipeline did not end well: the error that the others followed from."""
    errors = [row.error for row in rows.values() if row.error and row.state == JobState.FAILED]
    return errors[0] if errors else None


def assemble(pipeline: PipelineRow, rows: Mapping[str, JobRow]) -> dict[str, Any]:
    """The part of ``luthier.tune/1`` that jobs tell: what is not there yet is null."""
    results: dict[str, Mapping[str, Any]] = {kind: row.result or {} for kind, row in rows.items()}
    report = results.get("report", {})
    return {
        "schema": "luthier.tune/1",
        "pipeline": pipeline.id,
        "name": pipeline.name,
        "state": state_of(rows),
        "created_at": pipeline.created_at,
        "ended_at": _ended_at(rows),
        "base": results.get(FETCH, {}).get("base", pipeline.base),
        "job": rows["train"].id if "train" in rows else None,
        "dataset": results.get("ingest", {}).get("dataset"),
        "plan": results.get("plan", {}).get("plan"),
        "training": results.get("train", {}).get("training"),
        "evaluation": results.get("evaluate", {}).get("evaluation"),
        "artifacts": results.get("parity", {}).get("artifacts") or results.get("export", {}).get("artifacts") or [],
        "report": {"html": report["html"], "markdown": report["markdown"]} if "html" in report else None,
        "question": report.get("question"),
        "answer": report.get("answer"),
        "unanswered": report.get("unanswered"),
        "error": error_of(rows),
    }


def _ended_at(rows: Mapping[str, JobRow]) -> str | None:
    ended = [row.ended_at for row in rows.values()]
    return max(filter(None, ended)) if ended and all(ended) else None


def _spec_of(kind: str, pipeline: PipelineRow) -> dict[str, Any]:
    spec, name = pipeline.spec, pipeline.name
    return {
        FETCH: {"model": pipeline.base.removeprefix(HUB)},
        "ingest": {"data": spec["data"], "name": name, "sequence_length": spec["training"]["sequence_length"]},
        "plan": spec,
        "train": {"training": spec["training"], "data": spec["data"]},
        "evaluate": {"evaluation": spec["evaluation"], "name": name},
        "export": {"formats": spec["export"]["formats"], "name": name},
        "parity": {"formats": spec["export"]["formats"], "name": name},
        "report": {"name": name, "question": spec["serve"]["question"], "pipeline": pipeline.id},
    }[kind]
