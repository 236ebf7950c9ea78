"""Rows of what jobs make and clients see: pipelines, datasets, models and deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, SQLModel, col, select

from scheduler.store.database import note
from scheduler.store.tables import DatasetRow, DeploymentRow, ModelRow, PipelineRow

_NOUNS: dict[type[SQLModel], str] = {
    PipelineRow: "pipeline",
    DatasetRow: "dataset",
    ModelRow: "model",
    DeploymentRow: "deployment",
}


def save(session: Session, row: PipelineRow | DatasetRow | ModelRow | DeploymentRow, **values: Any) -> None:
    """Insert a row, or change the given columns of one."""
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    session.flush()
    note(session, _NOUNS[type(row)], row.id)


def delete(session: Session, row: DatasetRow | ModelRow | DeploymentRow) -> None:
    """Delete a row."""
    note(session, _NOUNS[type(row)], row.id)
    session.delete(row)
    session.flush()


def pipeline(session: Session, id_: str) -> PipelineRow | None:
    return session.exec(select(PipelineRow).where(PipelineRow.id == id_)).first()


def pipeline_with_key(session: Session, key: str) -> PipelineRow | None:
    return session.exec(select(PipelineRow).where(PipelineRow.request_key == key)).first()


def dataset_of_job(session: Session, job: str) -> DatasetRow | None:
    return session.exec(select(DatasetRow).where(DatasetRow.job == job)).first()


def dataset_at(session: Session, path: str) -> DatasetRow | None:
    """The dataset whose folder this is."""
    return session.exec(select(DatasetRow).where(DatasetRow.path == path)).first()


def model(session: Session, id_: str) -> ModelRow | None:
    return session.exec(select(ModelRow).where(ModelRow.id == id_)).first()


def model_of_pipeline(session: Session, pipeline_id: str) -> ModelRow | None:
    """The newest model that a pipeline made."""
    order = col(ModelRow.number).desc()
    return session.exec(select(ModelRow).where(ModelRow.pipeline == pipeline_id).order_by(order)).first()


def model_at(session: Session, path: str) -> ModelRow | None:
    """The model whose folder this is."""
    return session.exec(select(ModelRow).where(ModelRow.path == path)).first()


def free_model_name(session: Session, wanted: str) -> str:
    """``wanted``, or with the first number behind it that makes it unique: names are ids on the endpoint."""
    taken = set(session.exec(select(ModelRow.name)).all())
    if wanted not in taken:
        return wanted
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wanted}-{number}") not in taken)


def models_on(session: Session, base: str) -> Sequence[ModelRow]:
    """The models whose base is this folder."""
    return session.exec(select(ModelRow).where(ModelRow.base == base)).all()


def deployments(session: Session) -> Sequence[DeploymentRow]:
    """What is served, oldest first."""
    return session.exec(select(DeploymentRow).order_by(col(DeploymentRow.number))).all()


def deployment_of(session: Session, model_id: str) -> DeploymentRow | None:
    return session.exec(select(DeploymentRow).where(DeploymentRow.model == model_id)).first()
