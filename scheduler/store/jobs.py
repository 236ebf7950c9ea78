"""Rows of jobs and their attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from appliance.errors import NotFound
from appliance.states import ACTIVE, TERMINAL, JobState, sources_of
from scheduler.store.database import note
from scheduler.store.tables import AttemptRow, JobRow


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; ``after`` is a job's number, and the list goes from newer to older."""

    state: str | None = None
    kind: str | None = None
    pipeline: str | None = None
    limit: int = 100
    after: int | None = None


@dataclass(frozen=True)
class Brief:
    """What placement and release need of a job: a queue of thousands is looked at often."""

    id: str
    kind: str
    name: str
    device: str | None
    pipeline: str | None
    depends_on: list[str]


def add(session: Session, row: JobRow) -> None:
    """Insert a job."""
    session.add(row)
    session.flush()
    note(session, "job", row.id)


def get(session: Session, id_: str) -> JobRow:
    """A job by its exact id. Raises ``NotFound``."""
    row = session.exec(select(JobRow).where(JobRow.id == id_)).first()
    if row is None:
        raise NotFound(f"There is no job '{id_}'.")
    return row


def change_state(session: Session, id_: str, target: JobState, **values: Any) -> bool:
    """Compare and set: move the job if the table of transitions allows it from where it is now."""
    allowed = [str(state) for state in sources_of(target)]
    statement = update(JobRow).where(col(JobRow.id) == id_, col(JobRow.state).in_(allowed))
    done = session.connection().execute(statement.values(state=str(target), **values))
    session.expire_all()
    note(session, "job", id_)
    return done.rowcount == 1


def change(session: Session, id_: str, **values: Any) -> None:
    """Set columns other than the state."""
    session.connection().execute(update(JobRow).where(col(JobRow.id) == id_).values(**values))
    session.expire_all()
    note(session, "job", id_)


def in_states(session: Session, states: Iterable[JobState]) -> Sequence[JobRow]:
    """Jobs in the order in which they are to be started."""
    wanted = [str(state) for state in states]
    order = (col(JobRow.priority).desc(), col(JobRow.number))
    return session.exec(select(JobRow).where(col(JobRow.state).in_(wanted)).order_by(*order)).all()


def briefly(session: Session, states: Iterable[JobState]) -> list[Brief]:
    """Jobs in the order in which they are to be started, without their specs and results."""
    wanted = [str(state) for state in states]
    columns = (JobRow.id, JobRow.kind, JobRow.name, JobRow.device, JobRow.pipeline, JobRow.depends_on)
    statement = select(*columns).where(col(JobRow.state).in_(wanted))  # type: ignore[call-overload]
    order = (col(JobRow.priority).desc(), col(JobRow.number))
    return [Brief(*row) for row in session.exec(statement.order_by(*order)).all()]


def active(session: Session) -> Sequence[JobRow]:
    return in_states(session, ACTIVE)


def unfinished_of(session: Session, kind: str) -> list[JobRow]:
    """The jobs of a kind that have not ended."""
    ended = [str(state) for state in TERMINAL]
    statement = select(JobRow).where(JobRow.kind == kind, col(JobRow.state).not_in(ended))
    return list(session.exec(statement.order_by(col(JobRow.number))).all())


def using(session: Session, name: str, value: str) -> JobRow | None:
    """An unfinished job one of whose inputs is this; a model counts by its path."""
    for row in in_states(session, set(JobState) - TERMINAL):
        given = row.inputs.get(name)
        if value in (given, given.get("path") if isinstance(given, dict) else None):
            return row
    return None


def listed(session: Session, asked: JobFilter) -> Sequence[JobRow]:
    """The jobs of a list, newest first."""
    statement = select(JobRow).order_by(col(JobRow.number).desc()).limit(asked.limit)
    for column, value in ((JobRow.state, asked.state), (JobRow.kind, asked.kind), (JobRow.pipeline, asked.pipeline)):
        if value is not None:
            statement = statement.where(col(column).in_(value.split(",")))
    if asked.after is not None:
        statement = statement.where(col(JobRow.number) < asked.after)
    return session.exec(statement).all()


def of_pipeline(session: Session, pipeline: str) -> Sequence[JobRow]:
    """Every job a pipeline ever had, oldest first; a rerun adds to them."""
    return session.exec(select(JobRow).where(JobRow.pipeline == pipeline).order_by(col(JobRow.number))).all()


def dependents(session: Session, id_: str) -> list[str]:
    """The unfinished jobs that wait for this one directly."""
    return [job.id for job in briefly(session, set(JobState) - TERMINAL) if id_ in job.depends_on]


def succeeded_among(session: Session, ids: set[str]) -> set[str]:
    """Which of these jobs have succeeded."""
    statement = select(JobRow.id).where(col(JobRow.id).in_(ids), JobRow.state == JobState.SUCCEEDED)
    return set(session.exec(statement).all()) if ids else set()


def counts(session: Session) -> dict[str, int]:
    """How many jobs are in each state."""
    rows = session.exec(select(JobRow.state, func.count()).group_by(col(JobRow.state))).all()
    return {str(state): 0 for state in JobState} | dict(rows)


def with_request_key(session: Session, key: str) -> JobRow | None:
    return session.exec(select(JobRow).where(JobRow.request_key == key)).first()


def open_attempt(session: Session, id_: str, number: int) -> None:
    session.add(AttemptRow(job=id_, number=number))
    session.flush()


def drop_attempt(session: Session, id_: str, number: int) -> None:
    """Forget an attempt that never came to be."""
    row = session.get(AttemptRow, (id_, number))
    if row is not None:
        session.delete(row)
        session.flush()


def close_attempt(session: Session, id_: str, number: int, **values: Any) -> None:
    statement = update(AttemptRow).where(col(AttemptRow.job) == id_, col(AttemptRow.number) == number)
    session.connection().execute(statement.values(**values))
    session.expire_all()


def attempts(session: Session, id_: str) -> Sequence[AttemptRow]:
    return session.exec(select(AttemptRow).where(AttemptRow.job == id_).order_by(col(AttemptRow.number))).all()
