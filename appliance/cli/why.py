"""``luthier why``: why a job waits, or why it failed and what to do about it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from appliance.cli.command import Call, Command
from appliance.cli.find import find_work, telling_job
from appliance.cli.render import styled
from appliance.cli.words import progress_text, state_text
from appliance.client import Client
from appliance.errors import LuthierError, NotFound

_LOG_LINES = 12


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="TUNE|JOB", help="an id or name; without it what runs now")


def run(call: Call) -> int:
    with call.client() as client:
        kind, body = find_work(client, call.options.name)
        job = telling_job(body) if kind == "pipeline" else body
        jobs = body.get("jobs") or [body]
        diagnosis = _diagnose(client, job, jobs)
    if call.screen.as_json:
        call.screen.value(diagnosis)
    else:
        _show(call, diagnosis)
    return 0


def _diagnose(client: Client, job: dict[str, Any], jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """``luthier.diagnosis/1``: what is known about the state of one job."""
    by_id = {other["id"]: other for other in jobs}
    waits_for = []
    for other in job.get("depends_on") or ():
        found = by_id.get(other) or client.job(other)
        waits_for.append({"id": found["id"], "kind": found.get("kind"), "state": found.get("state")})
    return {
        "schema": "luthier.diagnosis/1",
        "job": job["id"],
        "kind": job.get("kind"),
        "name": job.get("name"),
        "state": job.get("state"),
        "reason": job.get("reason"),
        "now": progress_text(job) or None,
        "attempts": job.get("attempts"),
        "depends_on": waits_for,
        "error": job.get("error"),
        "log": _last_lines(client, job),
        "folder": job.get("folder"),
    }


def _last_lines(client: Client, job: dict[str, Any]) -> list[str]:
    if not job.get("attempts") or job.get("state") == "succeeded":
        return []
    try:
        return [str(line) for line in client.log(job["id"], tail=_LOG_LINES).get("lines") or ()]
    except (NotFound, LuthierError):
        return []


def _show(call: Call, diagnosis: dict[str, Any]) -> None:
    error = diagnosis["error"] or {}
    screen = call.screen
    title = f"{diagnosis['kind']} {diagnosis['job']}, of {diagnosis['name']}: "
    screen.show(styled((title, "bold")) + state_text(diagnosis["state"]))
    screen.pairs(
        (
            ("waits", diagnosis["reason"]),
            ("now", diagnosis["now"]),
            ("because", error.get("message")),
            ("do", error.get("hint")),
            ("code", error.get("code")),
            ("where", error.get("where")),
            *(("fix", fix.get("label") or str(fix)) for fix in error.get("fixes") or ()),
            *(("after", f"{job['kind']} {job['id']}, {job['state']}") for job in diagnosis["depends_on"]),
            ("attempts", str(diagnosis["attempts"]) if diagnosis["attempts"] else None),
            ("folder", diagnosis["folder"]),
        )
    )
    if diagnosis["log"]:
        screen.show("", styled(("the log's last lines", "dim")), *(f"  {line}" for line in diagnosis["log"]))


COMMAND = Command(
    about="Why a job waits, or why it failed and what to do about it.",
    usage="[TUNE|JOB]",
    configure=configure,
    run=run,
    examples=("luthier why", "luthier why support-faq", "luthier why j-4k2m9x --json"),
    exits=(0, 3, 4),
)
