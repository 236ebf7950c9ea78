"""``luthier job``: the queue."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from appliance.cli.arguments import at_least_one
from appliance.cli.command import Call, Command
from appliance.cli.find import find_work
from appliance.cli.render import styled
from appliance.cli.summary import TERMINAL, result_line, seconds_of
from appliance.cli.words import age_text, listed, progress_text, state_text
from appliance.errors import Conflict
from appliance.states import JobState
from appliance.text import duration_text

_DEFAULT_LIMIT = 20


def _configure_ls(parser: ArgumentParser) -> None:
    parser.add_argument("--state", choices=[str(state) for state in JobState], metavar="STATE", help="only this state")
    parser.add_argument("--kind", help="only this kind: ingest, train, …")
    parser.add_argument("--tune", metavar="TUNE", help="only the jobs of one tune")
    parser.add_argument("-n", "--limit", type=at_least_one, default=_DEFAULT_LIMIT, metavar="N", help="how many (20)")
    parser.add_argument("-a", "--all", action="store_true", help="all of them")


def _ls(call: Call) -> int:
    options = call.options
    with call.client() as client:
        pipeline = client.pipeline(options.tune)["pipeline"] if options.tune else None
        limit = None if options.all or call.screen.as_json else options.limit + 1
        jobs = client.jobs(limit=limit, state=options.state, kind=options.kind, pipeline=pipeline)
    if call.screen.as_json:
        call.screen.value(listed("jobs", jobs))
        return 0
    more = not options.all and len(jobs) > options.limit
    shown = jobs if options.all else jobs[: options.limit]
    if not shown:
        call.screen.say("No such jobs." if options.state or options.kind else "No jobs yet.")
        return 0
    call.screen.table(("ID", "KIND", "NAME", "STATE", "QUEUED", "NOW"), [_row(job) for job in shown])
    if more:
        call.screen.say(f"The newest {options.limit}; --all lists the rest.")
    return 0


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    now = progress_text(job) or str(job.get("reason") or "")
    if job.get("state") in TERMINAL:
        now = (job.get("error") or {}).get("code") or duration_text(seconds_of(job) or 0)
    return job["id"], job.get("kind"), job.get("name"), state_text(job.get("state")), age_text(job["created_at"]), now


def _configure_name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="JOB|TUNE", help="an id, the beginning of one, or a name")


def _show(call: Call) -> int:
    with call.client() as client:
        kind, body = find_work(client, call.options.name)
    if call.screen.as_json:
        call.screen.value(body)
        return 0
    if kind == "pipeline":
        call.screen.table(
            ("ID", "KIND", "NAME", "STATE", "QUEUED", "NOW"), [_row(job) for job in body.get("jobs") or ()]
        )
        return 0
    error = body.get("error") or {}
    taken = seconds_of(body)
    call.screen.pairs(
        (
            ("job", f"{body['id']}  {body.get('kind')} of {body.get('name')}"),
            ("state", state_text(body.get("state"))),
            ("waits", body.get("reason")),
            ("now", progress_text(body) or None),
            ("result", result_line(body) or None),
            ("because", error.get("message")),
            ("do", error.get("hint")),
            ("tune", body.get("pipeline")),
            ("after", ", ".join(body.get("depends_on") or ()) or None),
            ("device", body.get("device")),
            ("attempts", str(body["attempts"]) if body.get("attempts") else None),
            ("queued", body.get("created_at")),
            ("took", duration_text(taken) if taken is not None else None),
            ("folder", body.get("folder")),
        )
    )
    return 0


def _act(verb: str, done: str) -> Callable[[Call], int]:
    """A wish about a job, or about the job of a tune that matters now."""

    def run(call: Call) -> int:
        with call.client() as client:
            kind, body = find_work(client, call.options.name)
            if kind == "pipeline" and verb != "rerun" and body.get("state") in TERMINAL:
                hint = f"`luthier job show {body['pipeline']}` lists its jobs."
                raise Conflict(f"{body.get('name')} has ended already: it is {body.get('state')}.", hint=hint)
            changed = client.act(str(body["pipeline"] if kind == "pipeline" else body["id"]), verb)
        if call.screen.as_json:
            call.screen.value(changed)
            return 0
        jobs = changed.get("jobs") or [changed]
        jobs = [job for job in jobs if job.get("state") not in ("succeeded", "blocked")] or jobs
        for job in jobs:
            call.screen.show(styled(f"{job['id']}  {job.get('kind'):10}") + state_text(job.get("state")))
        call.screen.say(done)
        return 0

    return run


def _verb(about: str, verb: str, done: str) -> Command:
    return Command(
        about=about,
        usage="JOB|TUNE",
        configure=_configure_name,
        run=_act(verb, done),
        examples=(f"luthier job {verb} support-faq", f"luthier job {verb} j-4k2m9x"),
        exits=(0, 3, 4, 5),
    )


COMMAND = Command(
    about="The queue.",
    usage="VERB [options]",
    verbs={
        "ls": Command(
            about="List jobs, newest first.",
            usage="[options]",
            configure=_configure_ls,
            run=_ls,
            examples=("luthier job ls", "luthier job ls --state failed", "luthier job ls --tune support-faq --json"),
            exits=(0, 2, 3),
        ),
        "show": Command(
            about="Everything about one job, or the jobs of one tune.",
            usage="JOB|TUNE",
            configure=_configure_name,
            run=_show,
            examples=("luthier job show j-4k2m9x", "luthier job show support-faq --json"),
            exits=(0, 3, 4),
        ),
        "pause": _verb("Stop a job at its next safe point; its checkpoint is kept.", "pause", "It stops when saved."),
        "resume": _verb("Let a paused job go on from its checkpoint.", "resume", "It is queued again."),
        "cancel": _verb("End a job, and what depends on it. What was made is kept.", "cancel", "It ends when saved."),
        "rerun": _verb(
            "Queue an ended job, or what is undone of a tune, again.",
            "rerun",
            "`luthier watch` follows it.",
        ),
    },
)
