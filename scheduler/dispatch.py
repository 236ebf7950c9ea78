"""The daemon's pulse: settle the attempts that ended, release what waited for them, start what can start.

One step is short and never waits. It runs ten times a second, so that the next job starts at once when one ends.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from appliance import durable
from appliance.errors import DiskFull, LuthierError
from appliance.jobdir import JobDir
from appliance.settings import Settings
from appliance.states import ACTIVE, JobState
from appliance.text import now_iso
from scheduler import deployments, outcomes, queue
from scheduler.briefing import Briefing
from scheduler.endpoint import Endpoint, lived_long
from scheduler.follow import Follower, Tail
from scheduler.placement import SERVE, Candidate, Capacity, Placement, Running, place
from scheduler.settle import Ended, Verdict, judge
from scheduler.store import jobs
from scheduler.store.database import Database
from scheduler.store.jobs import Brief
from scheduler.store.tables import JobRow
from scheduler.supervisor import Supervisor

logger = logging.getLogger(__name__)
_SLOWEST_RETRY = 30.0


@dataclass
class Dispatch:
    """Everything that moves jobs."""

    database: Database
    supervisor: Supervisor
    settings: Settings
    capacity: Capacity
    endpoint: Endpoint
    follower: Follower = field(init=False)
    heard: Any = None
    """Called with (job id, event) for each event passed on."""
    dirty: bool = True
    """Whether something changed since the queue was last looked at."""
    _not_before: dict[str, float] = field(default_factory=dict)
    _look_again: float = math.inf
    _unstarted: set[str] = field(default_factory=set)
    """Jobs that were claimed and then found no room on the disk."""

    _unsettled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.follower = Follower(self._heard)
        self._briefing = Briefing(self.supervisor, self.settings, self.endpoint)

    def step(self) -> None:
        """Settle, release, start. Raises ``DiskFull``; what could not be settled then is settled by a later step."""
        for job, attempt in self.supervisor.ended():
            self.settle(job, attempt)
        self.supervisor.press()
        if self.dirty or time.monotonic() >= self._look_again:
            self._put_back()
            self.dirty = False
            self.start()

    def start(self) -> None:
        """Start every queued job that placement lets go."""
        with self.database.read() as session:
            decided = self.placement(session)
        # Only what still waits is waited for: a claimed or cancelled job is none of it.
        self._not_before = {id_: at for id_, at in self._not_before.items() if id_ in decided.reasons}
        now = time.monotonic()
        self._look_again = min((at for at in self._not_before.values() if at > now), default=math.inf)
        for chosen in decided.starts:
            with self.database.write() as session:
                claimed = queue.claim(session, chosen.id, chosen.device)
            if claimed:
                self._launch(chosen.id)

    def _put_back(self) -> None:
        """Queue again what could not be started because the disk was full; the attempt is not counted."""
        for id_ in list(self._unstarted):
            with self.database.write() as session:
                queue.unclaim(session, id_)
                if jobs.get(session, id_).cancel_requested:
                    queue.cancel(session, id_)
            self._unstarted.discard(id_)

    def placement(self, session: Session) -> Placement:
        """What would be decided now, with a reason for each job that waits."""
        waiting = jobs.briefly(session, [JobState.QUEUED])
        running = [Running(job.id, job.kind, job.name, job.device) for job in jobs.briefly(session, ACTIVE)]
        candidates = [self._candidate(session, job) for job in waiting]
        return place(candidates, running, self.capacity, time.monotonic())

    def settle(self, id_: str, attempt: int) -> None:
        """Record how an attempt ended. Where its files cannot be read that is tried with each step; said once."""
        try:
            self._settle(id_, attempt)
        except DiskFull:
            raise
        except (LuthierError, OSError) as error:
            if id_ not in self._unsettled:
                logger.error("An ended attempt cannot be settled.", extra={"job": id_, "error": str(error)})
            self._unsettled.add(id_)
            self.supervisor.keep(id_, attempt)
        else:
            self._unsettled.discard(id_)

    def _settle(self, id_: str, attempt: int) -> None:
        """A result that makes no sense fails its job and nothing else."""
        tail = self.follower.leave(id_) or outcomes.last_words(self.supervisor.folder(id_), attempt)
        self.endpoint.ended(id_)
        with self.database.read() as session:
            row = jobs.get(session, id_)
        verdict = self._judge(row, attempt)
        try:
            self._conclude(row, attempt, verdict, tail)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.exception("A result could not be used.", extra={"job": id_})
            told = LuthierError(f"The result of the job cannot be used: {error!r}", hint="This is a bug of Luthier.")
            verdict = Verdict(state=JobState.FAILED, outcome="bug", error=told.as_dict() | {"code": "bug"})
            self._conclude(row, attempt, verdict, tail)
        self.supervisor.forget(id_)
        logger.info("Attempt ended.", extra={"job": id_, "attempt": attempt, "outcome": verdict.outcome})

    def _conclude(self, row: JobRow, attempt: int, verdict: Verdict, tail: Tail) -> None:
        """Everything that follows from an ended attempt, in one transaction."""
        with self.database.write() as session:
            self._record(session, row, attempt, verdict, tail)
            if verdict.state is JobState.SUCCEEDED:
                outcomes.succeeded(session, jobs.get(session, row.id))
            elif verdict.state in (JobState.FAILED, JobState.CANCELLED):
                queue.drop_dependents(session, row.id)
            if row.kind == SERVE:
                self.endpoint.server_ended(session, row.id)
            self.release(session)
            self.endpoint.tell_server(session)

    def adopt(self, row: JobRow) -> bool:
        """Go on watching an attempt that an earlier daemon started."""
        if not self.supervisor.adopt(row.id, row.attempts):
            return False
        self.follower.follow(row.id, self.supervisor.folder(row.id).events, row.attempts)
        return True

    def wish_changed(self, row: JobRow) -> None:
        """Act on a wish that was just recorded: ask a running job to stop."""
        if row.cancel_requested or row.pause_requested:
            self.supervisor.stop(row.id)

    def changed_deployments(self, session: Session) -> None:
        """Bring the server up to date after deployments were changed by hand."""
        self.endpoint.tell_server(session)
        self.release(session)

    def release(self, session: Session) -> None:
        """Queue the blocked jobs that wait for nothing any more."""
        queue.release_ready(session, lambda job: self.endpoint.holds(session, job))

    def _candidate(self, session: Session, job: Brief) -> Candidate:
        wanted = job.device
        if wanted is None and job.kind == "train" and len(self.capacity.devices) > 1:
            planned = self._briefing.plan(session, jobs.get(session, job.id)).get("devices") or []
            wanted = planned[0] if planned and planned[0] in self.capacity.devices else None
        # A server that died after the report was let go is waited for like one that has not begun.
        held = "Waits for the endpoint, which is being started again." if self.endpoint.holds(session, job) else None
        return Candidate(job.id, job.kind, wanted, self._not_before.get(job.id, 0.0), held)

    def _launch(self, id_: str) -> None:
        """Write the job's folder if this is its first attempt, and start its shim."""
        folder = self.supervisor.folder(id_)
        try:
            with durable.disk_errors(folder.path):
                row = self._brief(id_, folder)
                self.supervisor.launch(id_, row.attempts)
        except DiskFull:
            # It has not begun: it waits in the queue until there is room.
            self._unstarted.add(id_)
            self.dirty = True
            raise
        except (LuthierError, OSError) as error:
            self._could_not_start(id_, error)
            return
        self.follower.follow(id_, folder.events, row.attempts)
        with self.database.write() as session:
            self.wish_changed(queue.move(session, id_, JobState.RUNNING))
        logger.info("Attempt started.", extra={"job": id_, "attempt": row.attempts, "kind": row.kind})

    def _brief(self, id_: str, folder: JobDir) -> JobRow:
        with self.database.write() as session:
            row = jobs.get(session, id_)
            if not folder.job_file.exists():
                job = self._briefing.job(session, row)
                folder.create(job)
                jobs.change(session, id_, inputs=dict(job.inputs))
            if row.kind == SERVE:
                deployments.server_began(session)
                deployments.write_models(session, folder)
        return row

    def _could_not_start(self, id_: str, error: LuthierError | OSError) -> None:
        told = error if isinstance(error, LuthierError) else LuthierError(f"The job could not be started: {error}")
        logger.error("A job could not be started.", extra={"job": id_, "error": str(error)})
        with self.database.write() as session:
            row = jobs.get(session, id_)
            jobs.close_attempt(session, id_, row.attempts, ended_at=now_iso(), outcome=told.code)
            queue.move(session, id_, JobState.FAILED, error=told.as_dict())
            queue.drop_dependents(session, id_)
            if row.kind == SERVE:
                deployments.server_failed(session, told.message)

    def _judge(self, row: JobRow, attempt: int) -> Verdict:
        folder = self.supervisor.folder(row.id)
        progressed = outcomes.newest_checkpoint(folder) > row.checkpoint
        if row.kind == SERVE:
            progressed = lived_long(folder.read_exit(attempt))
        ended = Ended(
            kind=row.kind,
            result=folder.read_result(attempt),
            exit=self.supervisor.exit_record(row.id, attempt),
            cancel_requested=row.cancel_requested,
            pause_requested=row.pause_requested,
            fruitless=row.fruitless,
            progressed=progressed,
        )
        return judge(ended)

    def _record(self, session: Session, row: JobRow, attempt: int, verdict: Verdict, tail: Tail) -> None:
        folder = self.supervisor.folder(row.id)
        jobs.close_attempt(session, row.id, attempt, **outcomes.attempt_record(folder, attempt, verdict.outcome))
        if row.state == JobState.STARTING:
            queue.move(session, row.id, JobState.RUNNING)
        values: dict[str, Any] = {"fruitless": verdict.fruitless, "checkpoint": outcomes.newest_checkpoint(folder)}
        values["progress"] = tail.progress or row.progress
        if verdict.state is JobState.QUEUED:
            queue.move(session, row.id, JobState.INTERRUPTED, **values)
            queue.move(session, row.id, JobState.QUEUED, pause_requested=False)
            if verdict.fruitless:
                self._not_before[row.id] = time.monotonic() + min(_SLOWEST_RETRY, 0.25 * 4 ** (verdict.fruitless - 1))
            return
        self._not_before.pop(row.id, None)
        values |= {"result": verdict.result, "error": verdict.error, "pause_requested": False}
        queue.move(session, row.id, verdict.state, **values)

    def _heard(self, job: str, event: Mapping[str, Any]) -> None:
        """Take in what a worker says; the server's words move deployments."""
        self.endpoint.heard(job, event)
        if event["type"] in ("loaded", "ready"):
            with self.database.write() as session:
                if jobs.get(session, job).kind == SERVE and deployments.heard(session, event):
                    self.endpoint.tell_server(session)
                self.release(session)
            self.dirty = True
        if self.heard is not None:
            self.heard(job, event)
