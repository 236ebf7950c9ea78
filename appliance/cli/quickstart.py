"""``luthier quickstart``: the whole way on the bundled base model and dataset, offline, ending with an answer."""

from __future__ import annotations

import time
import uuid
from argparse import ArgumentParser
from typing import Any

from appliance import spec as specs
from appliance.cli.arguments import seconds
from appliance.cli.command import Call, Command
from appliance.cli.follow import ask, outcome
from appliance.cli.request import RECIPE
from appliance.cli.summary import tune_pairs
from appliance.cli.tune import watch_tune
from appliance.errors import JobFailed
from appliance.text import duration_text


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("--name", help="what to call the result")
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="wait no longer than this: 90, 5m, 2h")


def run(call: Call) -> int:
    began = time.monotonic()
    body = specs.load_recipe(RECIPE)
    if call.options.name:
        body["name"] = call.options.name
    specs.parse(body, origin=str(RECIPE))
    call.reach_daemon()
    key = f"quickstart-{uuid.uuid4()}"
    queued = ask(call, lambda client: client.start_tune(body, key))
    call.screen.say(f"{queued.get('name')}: the bundled base model learns the bundled dataset. Nothing is downloaded.")
    tune = watch_tune(call, queued["pipeline"], timeout=call.options.timeout)
    if failure := outcome(tune):
        if failure.hint is None:
            failure.hint = f"`luthier why {queued['pipeline']}` says more."
        raise failure
    result = {"question": None, "answer": None, **tune, "schema": "luthier.quickstart/1"}
    result["seconds"] = round(time.monotonic() - began, 1)
    if call.screen.as_json:
        call.screen.value(result)
    else:
        _show(call, result)
    if result["answer"] is None:
        why = result.get("unanswered") or "the model is not served"
        raise JobFailed(f"The tuned model was asked and gave no answer: {why}", hint="`luthier ps` shows the endpoint.")
    return 0


def _show(call: Call, result: dict[str, Any]) -> None:
    call.screen.show("")
    call.screen.pairs(tune_pairs(result))
    if result.get("answer") is not None:
        call.screen.show("")
        call.screen.pairs((("asked", result.get("question")), ("answered", result["answer"])))
    model = (result.get("deployment") or {}).get("model") or result.get("name")
    call.screen.say("")
    call.screen.say(f"Done in {duration_text(result['seconds'])}. Next:")
    steps = (
        (f"luthier run {model}", "chat with it"),
        ("luthier endpoint --format python", "use it from a program"),
        ("luthier tune YOUR_FILE", "the same with your data"),
    )
    width = max(len(command) for command, _ in steps) + 3
    for command, purpose in steps:
        call.screen.say(f"  {command:{width}}{purpose}")


COMMAND = Command(
    about="Tune, prove, export and serve the bundled example: a few minutes on two cores, offline.",
    configure=configure,
    run=run,
    examples=("luthier quickstart", "luthier quickstart --json", "luthier quickstart --name mine"),
    exits=(0, 1, 2, 3, 7, 9, 124, 130),
)
