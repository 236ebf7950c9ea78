"""What a job is told before its first attempt: the content of ``job.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from appliance.jobdir import Job
from appliance.settings import Settings
from appliance.states import JobState
from scheduler import outcomes, pipelines
from scheduler.endpoint import Endpoint
from scheduler.placement import REPORT, SERVE
from scheduler.store import jobs, things
from scheduler.store.tables import JobRow
from scheduler.supervisor import Supervisor


@dataclass(frozen=True)
class Briefing:
    """Puts together what a job is told."""

    supervisor: Supervisor
    settings: Settings
    endpoint: Endpoint

    def job(self, session: Session, row: JobRow) -> Job:
        """A job with its inputs: from what earlier jobs made, where they were not given."""
        plan = self.plan(session, row) if row.kind == "train" else {}
        devices = plan.get("devices") or []
        return Job(
            id=row.id,
            kind=row.kind,
            name=row.name,
            spec=row.spec,
            inputs=self._inputs(session, row),
            plan=plan,
            settings=_plain(self.settings.as_dict()),
            device=row.device,
            ranks=max(1, len(devices)),
            pipeline=row.pipeline,
            created_at=row.created_at,
        )

    def plan(self, session: Session, row: JobRow) -> Mapping[str, Any]:
        """The plan that a training follows, empty when none was made."""
        made = self._made(session, row).get("plan")
        plan: Mapping[str, Any] = made.result.get("plan") or {} if made else {}
        return plan

    def _inputs(self, session: Session, row: JobRow) -> dict[str, Any]:
        if row.kind == SERVE or not (row.pipeline or row.depends_on):
            return dict(row.inputs)
        pipeline = things.pipeline(session, row.pipeline) if row.pipeline else None
        resolved = pipelines.inputs_of(row.kind, pipeline.base if pipeline else None, self._made(session, row))
        if row.kind == REPORT and row.pipeline:
            resolved["endpoint"] = outcomes.endpoint_of(session, row.pipeline, self.endpoint)
        return resolved | row.inputs

    def _made(self, session: Session, row: JobRow) -> dict[str, pipelines.Made]:
        """What the jobs this one can build on have made, by kind."""
        before = jobs.of_pipeline(session, row.pipeline) if row.pipeline else ()
        rows = [*before, *(jobs.get(session, id_) for id_ in row.depends_on)]
        return {
            other.kind: pipelines.Made(other.result or {}, str(self.supervisor.folder(other.id).path))
            for other in rows
            if other.state == JobState.SUCCEEDED
        }


def _plain(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings as JSON has them: equal after writing and reading."""
    return {
        name: {key: list(value) if isinstance(value, tuple) else value for key, value in section.items()}
        for name, section in sections.items()
    }
