"""Jobs that belong together: a pipeline's jobs in the order of its stages, or one job alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.states import TERMINAL, JobState
from tui.world import Live, Thing, World, items, number, section

STAGES = ("ingest", "plan", "train", "evaluate", "export", "parity", "deploy", "report")
_ACTIVE = {"starting", "running"}
_ENDED = {str(state) for state in TERMINAL}


@dataclass(frozen=True)
class Group:
    """A pipeline, or a job that is in none."""

    key: str
    jobs: tuple[Thing, ...]

    @property
    def name(self) -> str:
        return str(self.jobs[0].get("name") or self.key)

    @property
    def created_at(self) -> str:
        return min(str(job.get("created_at") or "") for job in self.jobs)

    @property
    def ended_at(self) -> str | None:
        """When the last of its jobs ended; None while one has not."""
        ends = [job.get("ended_at") for job in self.jobs]
        return None if None in ends else max(str(end) for end in ends)

    @property
    def state(self) -> str:
        """Running while any job is; else what went wrong first; succeeded when all did."""
        states = {str(job.get("state")) for job in self.jobs}
        if states & _ACTIVE:
            return "running"
        for state in ("failed", "paused", "cancelled", "interrupted"):
            if state in states:
                return state
        return "succeeded" if states == {"succeeded"} else "queued"

    @property
    def ended(self) -> bool:
        return all(str(job.get("state")) in _ENDED for job in self.jobs)

    @property
    def current(self) -> Thing:
        """The job that stands for the group: what runs, what failed, what comes next, or what mattered most."""
        for wanted in ({"running"}, {"starting"}, {"failed"}, {"paused", "interrupted"}, {"queued"}, {"blocked"}):
            for job in self.jobs:
                if job.get("state") in wanted:
                    return job
        return self.of_kind("train") or self.jobs[-1]

    def of_kind(self, kind: str) -> Thing | None:
        return next((job for job in self.jobs if job.get("kind") == kind), None)

    @property
    def plan(self) -> Thing:
        """``luthier.plan/1`` of the pipeline, empty before it was made."""
        return section(section(self.of_kind("plan"), "result"), "plan")


def groups_of(world: World) -> list[Group]:
    """Every group, newest first, without the endpoint's own job and without jobs that were run again."""
    members: dict[str, list[Thing]] = {}
    redone = {job.get("rerun_of") for job in world.jobs.values()}
    for id_, job in world.jobs.items():
        if job.get("kind") != "serve" and id_ not in redone:
            members.setdefault(str(job.get("pipeline") or id_), []).append(job)
    groups = [Group(key, tuple(sorted(jobs, key=_stage))) for key, jobs in members.items()]
    return sorted(groups, key=lambda group: group.created_at, reverse=True)


def group_of(world: World, job: Thing) -> Group:
    """The group that a job is in."""
    key = job.get("pipeline")
    redone = {other.get("rerun_of") for other in world.jobs.values()} - {job.get("id")}
    mates = [other for id_, other in world.jobs.items() if key and other.get("pipeline") == key and id_ not in redone]
    return Group(str(key or job.get("id")), tuple(sorted(mates or [job], key=_stage)))


def _stage(job: Thing) -> tuple[int, str]:
    kind = str(job.get("kind"))
    return (STAGES.index(kind) if kind in STAGES else len(STAGES), str(job.get("created_at") or ""))


def find_job(world: World, name: str) -> Thing | None:
    """A job by id, by a unique beginning of one, or by name (the newest; of a pipeline the job that matters)."""
    if name in world.jobs:
        return world.jobs[name]
    starts = [job for id_, job in world.jobs.items() if id_.startswith(name)]
    if len(starts) == 1:
        return starts[0]
    return next((group.current for group in groups_of(world) if group.name == name or group.key == name), None)


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    done: float
    total: float
    unit: str
    eta_seconds: float | None

    @property
    def share(self) -> float | None:
        return self.done / self.total if self.total > 0 else None


def progress_of(job: Thing, live: Live) -> Progress:
    """What its worker last said, or before it said anything what the daemon knows."""
    known = section(job, "progress")
    if live.total and not live.steps:
        return Progress(live.done, live.total, live.unit, live.eta_seconds)
    step, steps = number(known.get("step")) or 0, number(known.get("steps")) or 0
    eta = live.eta_seconds if live.eta_seconds is not None else number(known.get("eta_seconds"))
    unit = "step" if live.steps else str(known.get("unit") or "step")
    return Progress(max(live.step, step), live.steps or steps, unit, eta)


def attention(world: World) -> list[tuple[str, Group, str, str]]:
    """What wants a person: ``(state, group, sentence, hint)``. A tune that went well since makes up for a failure."""
    found: list[tuple[str, Group, str, str]] = []
    made_up: set[str] = set()
    for group in groups_of(world):
        if group.name in made_up:
            continue
        if group.state == "succeeded":
            made_up.add(group.name)
            if lines := _refusals(group):
                found.append(("interrupted", group, "the gate said no", lines[0]))
        elif group.state == "failed":
            made_up.add(group.name)
            error = section(group.current, "error")
            sentence = str(error.get("message") or "it failed without a word")
            found.append(("failed", group, f"{group.current.get('kind')}: {sentence}", str(error.get("hint") or "")))
    return found


def _refusals(group: Group) -> list[str]:
    """Why the gate said no; empty when it said yes or was not asked."""
    evaluation = section(section(group.of_kind("evaluate"), "result"), "evaluation")
    gate = section(evaluation, "gate")
    if gate.get("passed") is not False:
        return []
    # The verdict is the last line; those before it are its grounds.
    return [str(line) for line in reversed(gate.get("lines") or ["no reason was given"])]


def endpoint_of(world: World) -> tuple[str | None, list[str]]:
    """Address and model names of the endpoint; None when nothing is served."""
    endpoint: Mapping[str, object] | None = world.endpoint or section(world.status, "endpoint") or None
    if endpoint is None:
        return None, []
    models = endpoint.get("models")
    names = [_model_name(model) for model in models] if isinstance(models, list) else []
    url = endpoint.get("base_url")
    return (str(url) if url else None), [name for name in names if name]


def _model_name(model: object) -> str:
    return str(model.get("id") or "") if isinstance(model, Mapping) else str(model)


def deployments_of(world: World, model: Thing) -> list[Thing]:
    """Where a model is served."""
    id_, name = model.get("id"), model.get("name")
    return [
        deployment
        for deployment in world.deployments.values()
        if (deployment.get("model_id") or deployment.get("model")) in (id_, name)
    ]


def artifacts_of(world: World, model: Thing) -> list[Thing]:
    """A model's files, as its own record has them."""
    return items(model, "artifacts")


def running(jobs: Iterable[Thing]) -> list[Thing]:
    """The jobs whose worker is at work."""
    return [job for job in jobs if job.get("state") == JobState.RUNNING]
