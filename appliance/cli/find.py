"""What a person means by a name: a tune, a job, or the newest of them."""

from __future__ import annotations

from typing import Any

from appliance.client import Client
from appliance.errors import NotFound

_OPEN = ("running", "paused", "queued", "blocked", "starting", "interrupted")


def find_work(client: Client, name: str | None) -> tuple[str, dict[str, Any]]:
    """``("pipeline", …)`` or ``("job", …)``; without a name what runs now, else the newest. Raises ``NotFound``."""
    if name is None:
        return _newest(client)
    if name.startswith("j-"):
        return "job", client.job(name)
    try:
        return "pipeline", client.pipeline(name)
    except NotFound:
        if name.startswith("p-"):
            raise
    try:
        return "job", client.job(name)
    except NotFound as error:
        hint = "`luthier job ls` lists what there is."
        raise NotFound(f"No tune or job is called '{name}'.", hint=hint) from error


def find_job(client: Client, name: str | None) -> dict[str, Any]:
    """The job of that name; of a tune, the one worth looking at. Raises ``NotFound``."""
    kind, body = find_work(client, name)
    return telling_job(body) if kind == "pipeline" else body


def telling_job(tune: dict[str, Any]) -> dict[str, Any]:
    """The job of a tune that says most about it: the one that failed, runs, waits next, or ended last."""
    jobs: list[dict[str, Any]] = tune.get("jobs") or []
    if not jobs:
        raise NotFound(f"{tune.get('name')} has no jobs.")
    for states in (("failed",), ("running", "starting", "interrupted"), ("paused", "queued", "blocked")):
        found = [job for job in jobs if job.get("state") in states]
        if found:
            return found[0]
    ended = [job for job in jobs if job.get("ended_at")]
    return ended[-1] if ended else jobs[-1]


def _newest(client: Client) -> tuple[str, dict[str, Any]]:
    tunes = sorted(client.pipelines(), key=_created, reverse=True)
    if tunes:
        running = [tune for tune in tunes if tune.get("state") in _OPEN]
        chosen = (running or tunes)[0]
        return "pipeline", client.pipeline(str(chosen["pipeline"]))
    jobs = sorted(client.jobs(), key=_created, reverse=True)
    if not jobs:
        raise NotFound("Nothing has been queued yet.", hint="Start with `luthier quickstart` or `luthier tune FILE`.")
    return "job", jobs[0]


def _created(body: dict[str, Any]) -> str:
    return str(body.get("created_at") or "")
