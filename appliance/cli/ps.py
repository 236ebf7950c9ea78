"""``luthier ps``: what runs now and what is being served."""

from __future__ import annotations

from appliance.cli.command import Call, Command
from appliance.cli.summary import seconds_of
from appliance.cli.words import progress_text, state_text
from appliance.errors import NotFound
from appliance.text import duration_text

_ACTIVE = ("starting", "running", "interrupted", "paused")


def run(call: Call) -> int:
    with call.client() as client:
        jobs = [job for job in client.jobs() if job.get("state") in _ACTIVE and job.get("kind") != "serve"]
        deployments = client.deployments()
        try:
            endpoint = client.endpoint()
        except NotFound:
            endpoint = None
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.ps/1", "jobs": jobs, "deployments": deployments, "endpoint": endpoint})
        return 0
    if not jobs and not deployments:
        call.screen.say("Nothing runs and nothing is served.")
        return 0
    rows: list[tuple[object, ...]] = [
        (job["id"], job.get("kind"), job.get("name"), state_text(job.get("state")), job.get("device"), _time(job))
        for job in jobs
    ]
    for deployment in deployments:
        names = f"{deployment.get('model')}" + (f" = {deployment['alias']}" if deployment.get("alias") else "")
        state = state_text(deployment.get("state"))
        rows.append((deployment["id"], "serve", names, state, "cpu", (endpoint or {}).get("base_url")))
    call.screen.table(("ID", "KIND", "NAME", "STATE", "DEVICE", "NOW"), rows)
    return 0


def _time(job: dict[str, object]) -> str:
    taken = duration_text(seconds_of(job))
    return f"{progress_text(job)}  {taken}".strip()


COMMAND = Command(about="What runs now and what is being served.", run=run, examples=("luthier ps",), exits=(0, 2, 3))
