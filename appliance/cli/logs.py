"""``luthier logs``: what a job's worker wrote."""

from __future__ import annotations

import time
from argparse import ArgumentParser

from appliance.cli.arguments import at_least_one
from appliance.cli.command import Call, Command
from appliance.cli.find import find_job
from appliance.cli.follow import ask
from appliance.cli.summary import TERMINAL

_POLL_SECONDS = 0.5
_WINDOW = 1000


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="TUNE|JOB", help="an id or name; without it what runs now")
    parser.add_argument("-n", "--tail", type=at_least_one, default=200, metavar="N", help="how many lines (200)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    parser.add_argument("--attempt", type=at_least_one, metavar="N", help="of which attempt; the newest by default")


def run(call: Call) -> int:
    options = call.options
    with call.client() as client:
        job = find_job(client, options.name)
        log = client.log(job["id"], tail=options.tail, attempt=options.attempt)
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.log/1", "job": job["id"], **log})
        return 0
    call.screen.say(f"{job.get('kind')} {job['id']}, attempt {log.get('attempt') or '–'}, {job.get('state')}")
    lines = [str(line) for line in log.get("lines") or ()]
    call.screen.show(*lines)
    if options.follow and options.attempt is None:
        _follow(call, job["id"], lines, log.get("attempt"))
    return 0


def _follow(call: Call, job_id: str, shown: list[str], attempt: object) -> None:
    """Print what is new until the job has ended."""
    over = False
    while not over:
        over = ask(call, lambda client: client.job(job_id)).get("state") in TERMINAL
        log = ask(call, lambda client: client.log(job_id, tail=_WINDOW))
        lines = [str(line) for line in log.get("lines") or ()]
        if log.get("attempt") != attempt:
            attempt, shown = log.get("attempt"), []
            call.screen.say(f"attempt {attempt}")
        call.screen.show(*unseen(shown, lines))
        shown = lines
        if not over:
            time.sleep(_POLL_SECONDS)


def unseen(before: list[str], now: list[str]) -> list[str]:
    """The lines that were added between two looks at the end of a log.

    >>> unseen(["a", "b"], ["b", "c"])
    ['c']
    """
    for start in range(max(0, len(before) - len(now)), len(before)):
        overlap = before[start:]
        if now[: len(overlap)] == overlap:
            return now[len(overlap) :]
    for end in range(len(now), 0, -1):
        if before and now[max(0, end - len(before)) : end] == before[-end:]:
            return now[end:]
    return now


COMMAND = Command(
    about="What a job's worker wrote; of a tune, the job that failed, runs or ended last.",
    usage="[TUNE|JOB] [options]",
    configure=configure,
    run=run,
    examples=("luthier logs", "luthier logs support-faq -f", "luthier logs j-4k2m9x --attempt 1 -n 50"),
    exits=(0, 3, 4, 130),
)
