"""Reading the daemon: what the feed asks it for, and what it makes of the answers. Nothing here waits or retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from appliance.errors import NotFound
from tui.messages import JobHistory
from tui.world import Live, Thing, World, by_id, items, number, safe_json, section, thinned

# The newest jobs that are read; older ones are for the command line.
_JOBS = 200
# Points of a running job's loss that its card on Home is drawn from.
_COURSE_POINTS = 120
# A job's past is read in pages of a thousand events; a screen shows no more than the last thousand.
_MOST_PAGES = 200
_KEPT_EVENTS = 1000


class Daemon(Protocol):
    """What the feed needs of ``appliance.client.Client``; several threads use it at once."""

    cursor: int

    def status(self) -> dict[str, Any]: ...
    def jobs(self, *, limit: int | None = None) -> Any: ...
    def datasets(self) -> Any: ...
    def models(self) -> Any: ...
    def deployments(self) -> Any: ...
    def endpoint(self) -> dict[str, Any]: ...
    def devices(self) -> Any: ...
    def act(self, id: str, verb: str, /) -> Any: ...
    def events(self, id: str, after: int = 0, /) -> Any: ...
    def metrics(self, id: str, points: int = 200, /) -> dict[str, Any]: ...
    def log(self, id: str, /) -> Any: ...
    def deploy(self, model: str, /) -> Any: ...
    def undeploy(self, id: str, /) -> Any: ...
    def stream(self, after: int = 0, /) -> Iterator[tuple[str, Mapping[str, Any]]]: ...
    def close(self) -> None: ...


def whole_world(client: Daemon, before: World) -> World:
    """Everything anew; what running jobs have said and how busy devices were is kept from ``before``."""
    jobs = by_id(things(client.jobs(limit=_JOBS)))
    running = {id_: job for id_, job in jobs.items() if job.get("state") == "running"}
    live = {id_: _live_so_far(client, job, before.live_of(id_)) for id_, job in running.items()}
    return replace(
        before,
        status=safe_json(client.status()),
        jobs=jobs,
        live={**before.live, **live},
        datasets=by_id(things(client.datasets())),
        models=by_id(things(client.models())),
        deployments=by_id(things(client.deployments())),
        endpoint=endpoint(client),
        devices=tuple(things(client.devices())),
        read=True,
    )


def endpoint(client: Daemon) -> Thing | None:
    """The inference endpoint; None when nothing is served."""
    try:
        return dict(safe_json(client.endpoint()))
    except NotFound:
        return None


def history_of(client: Daemon, job: str, points: int) -> JobHistory:
    """A job's curves, its newest events and the end of its log; empty for what it does not have yet."""
    metrics = safe_json(_or_nothing(lambda: client.metrics(job, points), {}))
    events = _or_nothing(lambda: _events_of(client, job), [])
    log = _or_nothing(lambda: client.log(job), {})
    lines = log.get("lines", []) if isinstance(log, Mapping) else log
    return JobHistory(metrics, events, safe_json(list(lines)))


def things(answer: Any) -> list[Thing]:
    """The things of an answer, made safe, whether it came bare or under ``items``."""
    found = answer if isinstance(answer, list | tuple) else items(answer, "items")
    return [safe_json(item) for item in found if isinstance(item, Mapping)]


def _events_of(client: Daemon, job: str) -> list[Thing]:
    """A job's events, page by page."""
    kept: list[Thing] = []
    after = 0
    for _ in range(_MOST_PAGES):
        page = things(client.events(job, after))
        newest = max((int(number(event.get("seq")) or 0) for event in page), default=0)
        if newest <= after:
            break
        kept, after = [*kept, *page][-_KEPT_EVENTS:], newest
    return kept


def _live_so_far(client: Daemon, job: Thing, live: Live) -> Live:
    """What a job that was running before the dashboard opened has said."""
    if job.get("kind") != "train":
        return live
    metrics = _or_nothing(lambda: client.metrics(str(job.get("id")), _COURSE_POINTS), {})
    pairs = zip(metrics.get("step") or (), metrics.get("loss") or (), strict=False)
    losses = [
        (float(step), float(loss)) for step, loss in pairs if number(step) is not None and number(loss) is not None
    ]
    if not losses:
        return live
    progress = section(job, "progress")
    return replace(
        live,
        step=int(number(progress.get("step")) or live.step),
        steps=int(number(progress.get("steps")) or live.steps),
        loss=losses[-1][1],
        learning_rate=_last(metrics, "learning_rate"),
        tokens_per_second=_last(metrics, "tokens_per_second"),
        eta_seconds=number(progress.get("eta_seconds")),
        losses=thinned(tuple(losses)),
    )


def _last(metrics: Thing, name: str) -> float | None:
    values = metrics.get(name)
    return number(values[-1]) if isinstance(values, list) and values else None


def _or_nothing(call: Callable[[], Any], nothing: Any) -> Any:
    """A job that has not started has no metrics, events or log yet."""
    try:
        return call()
    except NotFound:
        return nothing
