"""``luthier watch``: follow a tune or a job until it ends, with its exit status."""

from __future__ import annotations

from argparse import ArgumentParser

from appliance.cli.arguments import seconds
from appliance.cli.command import Call, Command
from appliance.cli.find import find_work
from appliance.cli.follow import follow_job, outcome
from appliance.cli.summary import result_line
from appliance.cli.tune import finish, watch_tune


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="TUNE|JOB", help="an id or name; without it what runs now")
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="watch no longer than this: 90, 5m, 2h")


def run(call: Call) -> int:
    with call.client() as client:
        kind, body = find_work(client, call.options.name)
    timeout = call.options.timeout
    if kind == "pipeline":
        call.screen.say(f"{body.get('name')} ({body['pipeline']})")
        return finish(call, watch_tune(call, body["pipeline"], timeout=timeout))
    job = follow_job(call, body["id"], timeout=timeout)
    if call.screen.as_json:
        call.screen.value(job)
    if failure := outcome(job):
        raise failure
    if not call.screen.as_json:
        call.screen.show(result_line(job) or f"{job['id']} succeeded")
    return 0


COMMAND = Command(
    about="Follow a tune or a job until it ends; the exit status is its own. Ctrl-C stops the watching only.",
    usage="[TUNE|JOB] [options]",
    configure=configure,
    run=run,
    examples=("luthier watch", "luthier watch support-faq --timeout 10m", "luthier watch j-4k2m9x --json"),
    exits=(0, 1, 3, 4, 8, 9, 124, 130),
)
