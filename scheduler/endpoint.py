"""The inference endpoint as the daemon knows it: what its server said, what it is told, and who waits for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from appliance.events import EventType
from appliance.states import TERMINAL, JobState
from scheduler import deployments
from scheduler.placement import REPORT
from scheduler.store import jobs, things
from scheduler.store.jobs import Brief
from scheduler.store.tables import DeploymentRow, JobRow, Loading
from scheduler.supervisor import Supervisor

LONGEST_LOADING = 900.0
"""Seconds after which a model that the server has not spoken of is not waited for any more."""
_LONG_LIFE = 60.0


@dataclass
class Endpoint:
    """What the present server process says of itself; read again from its events after a restart."""

    supervisor: Supervisor
    job: str | None = None
    url: str | None = None
    _loading_since: dict[str, float] = field(default_factory=dict)

    def heard(self, job: str, event: Mapping[str, Any]) -> None:
        """Take in where the server listens."""
        if event["type"] == EventType.READY:
            self.job, self.url = job, str(event.get("url")).rstrip("/")

    def ended(self, job: str) -> None:
        """Forget a server process that is gone."""
        if self.job == job:
            self.job, self.url = None, None

    @property
    def base_url(self) -> str | None:
        """What an OpenAI client is given."""
        if self.url is None or self.url.endswith("/v1"):
            return self.url
        return f"{self.url}/v1"

    def state(self, rows: Sequence[DeploymentRow], server: JobRow | None) -> str:
        """starting, loading, ready or failed."""
        if server is None or JobState(server.state) in TERMINAL:
            return "failed"
        if self.url is None:
            return "starting"
        return "loading" if any(row.state == Loading.LOADING for row in rows) else "ready"

    def holds(self, session: Session, job: Brief) -> bool:
        """Whether a report must wait, because it is not known yet whether its model is served."""
        if job.kind != REPORT or job.pipeline is None:
            return False
        model = things.model_of_pipeline(session, job.pipeline)
        deployment = things.deployment_of(session, model.id) if model else None
        if deployment is None or deployment.state == Loading.FAILED:
            return False
        return deployment.state == Loading.LOADING or self.base_url is None

    def tell_server(self, session: Session) -> None:
        """Write ``models.json`` of the running server and of one that is about to start."""
        for server in deployments.servers(session):
            folder = self.supervisor.folder(server.id)
            if folder.job_file.exists():
                deployments.write_models(session, folder)

    def server_ended(self, session: Session, id_: str) -> None:
        """Follow up a server's end: it is begun again, replaced, or given up."""
        row = jobs.get(session, id_)
        if row.state == JobState.FAILED:
            deployments.server_failed(session, str((row.error or {}).get("message") or "The server failed."))
        elif row.state == JobState.QUEUED:
            deployments.server_began(session)
        else:
            deployments.ensure_server(session)

    def give_up_loading(self, session: Session) -> None:
        """Call a deployment failed that the server has said nothing of for too long."""
        now = time.monotonic()
        waited = {row.id for row in things.deployments(session) if row.state == Loading.LOADING}
        self._loading_since = {id_: self._loading_since.get(id_, now) for id_ in waited}
        late = {id_ for id_, since in self._loading_since.items() if now - since > LONGEST_LOADING}
        if late:
            deployments.give_up(session, late, f"It was not loaded within {LONGEST_LOADING:.0f} s.")


def lived_long(exit_record: Mapping[str, Any] | None) -> bool:
    """A server that served for a while and then died is not one that cannot start."""
    return exit_record is None or float(exit_record.get("seconds") or 0) > _LONG_LIFE
