"""At boot: what an earlier daemon left behind becomes a legal world again."""

from __future__ import annotations

import logging

from appliance import durable
from appliance.jobdir import JobDir
from appliance.paths import Paths
from appliance.states import JobState
from scheduler import queue
from scheduler.dispatch import Dispatch
from scheduler.store import jobs
from scheduler.store.database import Database
from scheduler.store.tables import JobRow

logger = logging.getLogger(__name__)


def reconcile(database: Database, dispatch: Dispatch, paths: Paths) -> None:
    """Adopt what runs, settle what ended, put back what never began, sweep what is half-written."""
    with database.read() as session:
        active = list(jobs.active(session))
        interrupted = [row.id for row in jobs.in_states(session, [JobState.INTERRUPTED])]
    for row in active:
        _take_over(database, dispatch, row)
    with database.write() as session:
        for id_ in interrupted:
            queue.move(session, id_, JobState.QUEUED)
        dispatch.release(session)
    sweep(paths, set(dispatch.supervisor.watched()))


def sweep(paths: Paths, running: set[str]) -> None:
    """Remove half-written files and folders of jobs that do not run; those that run sweep their own."""
    for folder in (paths.state, paths.state / "pipelines"):
        durable.sweep(folder)
    for path in paths.jobs.glob("j-*"):
        if path.name not in running:
            job = JobDir(path)
            for inside in (path, job.checkpoints, job.artifacts, *path.glob("attempts/*")):
                durable.sweep(inside)


def _take_over(database: Database, dispatch: Dispatch, row: JobRow) -> None:
    if dispatch.adopt(row):
        logger.info("Adopted a running attempt.", extra={"job": row.id, "attempt": row.attempts})
        with database.write() as session:
            if row.state == JobState.STARTING:
                row = queue.move(session, row.id, JobState.RUNNING)
        dispatch.wish_changed(row)
        return
    dispatch.supervisor.clean(row.id, row.attempts)
    folder = dispatch.supervisor.folder(row.id)
    if row.state == JobState.STARTING and not (folder.attempt(row.attempts) / "pids.json").exists():
        logger.info("Put back an attempt that never began.", extra={"job": row.id, "attempt": row.attempts})
        with database.write() as session:
            queue.unclaim(session, row.id)
        return
    dispatch.settle(row.id, row.attempts)
