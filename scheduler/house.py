"""The parts of one daemon, and the few things that need several of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from appliance import __version__
from appliance.events import EventType
from appliance.paths import Paths
from appliance.settings import Settings
from appliance.states import JobState
from appliance.text import now_iso
from profiles.devices import Device
from scheduler import pipelines, view
from scheduler.dispatch import Dispatch
from scheduler.events import Feed
from scheduler.store import jobs, lookup, things
from scheduler.store.database import Database
from scheduler.store.tables import DatasetRow, DeploymentRow, JobRow, ModelRow, PipelineRow


@dataclass
class House:
    """Everything the routes and the clock reach for. Lives in the event loop's thread."""

    paths: Paths
    settings: Settings
    database: Database
    dispatch: Dispatch
    feed: Feed
    devices: tuple[Device, ...]
    leave: Callable[[], None]
    """Ends the daemon."""
    pid: int
    started_at: str = field(default_factory=now_iso)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.view = view.View(self.dispatch.supervisor, self.dispatch.follower, self.dispatch.endpoint)
        self.database.listener = self._changed
        self.dispatch.heard = self._heard

    def reasons(self, session: Session, rows: Iterable[JobRow]) -> dict[str, str]:
        """Why each of these jobs waits, of those that are queued."""
        waits = any(row.state == JobState.QUEUED for row in rows)
        return self.dispatch.placement(session).reasons if waits else {}

    def describe(self, session: Session, noun: str, id_: str) -> dict[str, Any] | None:
        """A thing as clients see it, None when it is gone."""
        if noun == "job":
            job = jobs.get(session, id_)
            return self.view.job(job, self.reasons(session, [job]))
        if noun == "pipeline":
            pipeline = things.pipeline(session, id_)
            return self.tune(session, pipeline, brief=True) if pipeline else None
        if noun == "dataset":
            dataset = lookup.exact(session, DatasetRow, id_)
            return view.dataset(dataset) if dataset else None
        if noun == "model":
            model = lookup.exact(session, ModelRow, id_)
            return view.model(session, model) if model else None
        deployment = lookup.exact(session, DeploymentRow, id_)
        return self.view.deployment(session, deployment) if deployment else None

    def tune(self, session: Session, row: PipelineRow, *, brief: bool = False) -> dict[str, Any]:
        """``luthier.tune/1``."""
        rows = pipelines.current(jobs.of_pipeline(session, row.id))
        return self.view.pipeline(session, row, rows, self.reasons(session, rows.values()), brief=brief)

    def status(self, session: Session) -> dict[str, Any]:
        """``luthier.status/1``."""
        return {
            "schema": "luthier.status/1",
            "version": __version__,
            "pid": self.pid,
            "home": str(self.paths.state),
            "socket": str(self.paths.socket),
            "started_at": self.started_at,
            "uptime_seconds": round(time.monotonic() - self.began, 3),
            "offline": self.settings.network.offline,
            "jobs": jobs.counts(session),
            "endpoint": self.view.endpoint_of(session),
            "devices": self.device_list(session),
        }

    def device_list(self, session: Session) -> list[dict[str, Any]]:
        """The devices, and which job uses each."""
        busy = {row.device: row.id for row in jobs.active(session) if row.device}
        return [device.as_dict() | {"busy_with": busy.get(device.torch_name)} for device in self.devices]

    def pipeline_of(self, session: Session, key: str) -> PipelineRow:
        return lookup.find(session, PipelineRow, key, "tune")

    def job_of(self, session: Session, key: str) -> JobRow:
        """A job by id, prefix or name; a tune's id or name means the job of it that matters now."""
        row = lookup.find_or_none(session, JobRow, key, "job")
        if row is not None and row.id.startswith(key) and key.startswith("j-"):
            return row
        pipeline = lookup.find_or_none(session, PipelineRow, key, "tune")
        if pipeline is None:
            return row if row is not None else lookup.find(session, JobRow, key, "job")
        return matters(list(pipelines.current(jobs.of_pipeline(session, pipeline.id)).values()))

    def _changed(self, noun: str, id_: str) -> None:
        """Tell the clients what a committed transaction changed."""
        self.dispatch.dirty = True
        with self.database.read() as session:
            body = self.describe(session, noun, id_)
            pipeline = jobs.get(session, id_).pipeline if noun == "job" else None
            tune = self.describe(session, "pipeline", pipeline) if pipeline else None
        self.feed.publish(noun, body or {"id": id_, "deleted": True})
        if tune is not None:
            self.feed.publish("pipeline", tune)

    def _heard(self, job: str, event: Mapping[str, Any]) -> None:
        self.feed.publish("progress", {"job": job, "event": dict(event)})
        if event["type"] in (EventType.READY, EventType.LOADED, EventType.UNLOADED):
            with self.database.read() as session:
                self.feed.publish("status", self.status(session))


def matters(rows: list[JobRow]) -> JobRow:
    """Of a tune's jobs: the one that runs, else the one that failed, else the next, else the last."""
    for wanted in (
        {JobState.RUNNING, JobState.STARTING},
        {JobState.PAUSED, JobState.QUEUED, JobState.INTERRUPTED},
        {JobState.FAILED},
        {JobState.BLOCKED},
    ):
        for row in rows:
            if row.state in wanted:
                return row
    return rows[-1]


def to_redo(rows: list[JobRow]) -> JobRow:
    """Of a tune's jobs, in their order: where doing it again begins. The first that did not succeed, or the first."""
    return next((row for row in rows if row.state != JobState.SUCCEEDED), rows[0])
