"""The tables. Metrics and heartbeats are not in them: those live in each job's ``events.jsonl``.

A thing's ``number`` gives the order in which things came; its ``id`` is what people and other tables use.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, ForeignKey, Index, String
from sqlmodel import Field, SQLModel

from appliance.states import JobState
from appliance.text import now_iso


class Stage(StrEnum):
    """How far a model is trusted."""

    CANDIDATE = "candidate"
    """Served under its own id only."""
    LIVE = "live"
    """Passed the gate, or a person gave it an alias."""


class Loading(StrEnum):
    """What the inference server says of one deployment."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """A constraint that lets a column hold nothing but the members of an enumeration."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_known")


def _json(default: Any = None) -> Any:
    return Field(default_factory=lambda: default, sa_column=Column(JSON(none_as_null=True)))


def _mapping() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


def _list() -> Any:
    return Field(default_factory=list, sa_column=Column(JSON, nullable=False))


def _reference(target: str, *, cascade: bool = False) -> Any:
    key = ForeignKey(target, ondelete="CASCADE" if cascade else "SET NULL")
    return Field(default=None, sa_column=Column(String, key, index=True, nullable=True))


class PipelineRow(SQLModel, table=True):
    """One tune: what was asked, resolved once at submission."""

    __tablename__ = "pipelines"

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    name: str = Field(index=True)
    spec: dict[str, Any] = _mapping()
    base: str
    """Absolute folder of the base model."""
    request_key: str | None = Field(default=None, unique=True)
    request_digest: str | None = None
    created_at: str = Field(default_factory=now_iso)


class JobRow(SQLModel, table=True):
    """One job: the queue's own state, and an index of what its folder says."""

    __tablename__ = "jobs"
    __table_args__ = (one_of("state", JobState), Index("jobs_by_state", "state", "priority", "number"))

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    kind: str
    name: str = Field(index=True)
    state: str
    pipeline: str | None = _reference("pipelines.id")
    spec: dict[str, Any] = _mapping()
    inputs: dict[str, Any] = _mapping()
    depends_on: list[str] = _list()
    rerun_of: str | None = None
    priority: int = 0
    device: str | None = None
    """Where it runs, chosen when it was first started and kept: its checkpoints belong to that choice."""
    attempts: int = 0
    fruitless: int = 0
    """Attempts in a row that died without saving a new checkpoint."""
    checkpoint: int = 0
    """Step of the newest checkpoint seen."""
    cancel_requested: bool = False
    pause_requested: bool = False
    progress: dict[str, Any] | None = _json()
    result: dict[str, Any] | None = _json()
    error: dict[str, Any] | None = _json()
    request_key: str | None = Field(default=None, unique=True)
    request_digest: str | None = None
    created_at: str = Field(default_factory=now_iso)
    started_at: str | None = None
    ended_at: str | None = None


class AttemptRow(SQLModel, table=True):
    """One execution of a job, as its exit record says it ended."""

    __tablename__ = "attempts"

    job: str = Field(sa_column=Column(String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True))
    number: int = Field(primary_key=True)
    started_at: str = Field(default_factory=now_iso)
    ended_at: str | None = None
    outcome: str | None = None
    """ok, or the code of the error."""
    exit_code: int | None = None
    exit_signal: int | None = None
    peak_memory_bytes: int | None = None
    seconds: float | None = None


class DatasetRow(SQLModel, table=True):
    """A file taken in, with its ledger."""

    __tablename__ = "datasets"

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    name: str = Field(index=True)
    path: str
    """The dataset folder, inside the job that made it."""
    job: str | None = _reference("jobs.id")
    body: dict[str, Any] = _mapping()
    """``luthier.dataset/1``."""
    created_at: str = Field(default_factory=now_iso)


class ModelRow(SQLModel, table=True):
    """A model made or added here."""

    __tablename__ = "models"
    __table_args__ = (one_of("stage", Stage),)

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    name: str = Field(unique=True)
    """Also its id on the endpoint, which is why it is unique."""
    stage: str = Stage.CANDIDATE
    kind: str
    """adapter or full."""
    path: str
    base: str | None = None
    job: str | None = _reference("jobs.id")
    pipeline: str | None = _reference("pipelines.id")
    dataset: str | None = _reference("datasets.id")
    evaluation: dict[str, Any] | None = _json()
    exported: dict[str, Any] | None = _json()
    """The newest export's result: merged folder and reference answers."""
    artifacts: list[dict[str, Any]] = _list()
    created_at: str = Field(default_factory=now_iso)


class DeploymentRow(SQLModel, table=True):
    """A model being served."""

    __tablename__ = "deployments"
    __table_args__ = (one_of("stage", Stage), one_of("state", Loading))

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    model: str = Field(
        sa_column=Column(String, ForeignKey("models.id", ondelete="CASCADE"), unique=True, nullable=False)
    )
    name: str = Field(unique=True)
    """The model's id on the endpoint."""
    alias: str | None = None
    """The name it takes over once it is loaded."""
    stage: str = Stage.CANDIDATE
    state: str = Loading.LOADING
    message: str | None = None
    artifact: dict[str, Any] = _mapping()
    tokenizer: str | None = None
    created_at: str = Field(default_factory=now_iso)
