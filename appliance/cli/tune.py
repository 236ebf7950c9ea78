"""``luthier tune``: queue the whole way from a file to a served model, and follow it."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from appliance.cli.arguments import seconds
from appliance.cli.command import Call, Command
from appliance.cli.follow import ask, follow_pipeline, outcome
from appliance.cli.plan import print_plan
from appliance.cli.request import add_spec_options, spec_from
from appliance.cli.summary import seconds_of, tune_pairs
from appliance.errors import GateRefused, LuthierError
from appliance.text import duration_text


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="FILE|DATASET|RECIPE.toml", help="a data file, a dataset here, or a recipe")
    add_spec_options(parser)
    parser.add_argument("--export", metavar="FORMAT,…", help="what to make for use: gguf:f16,gguf:q8_0")
    parser.add_argument("--no-serve", action="store_true", help="do not serve the result")
    parser.add_argument("--require-gate", action="store_true", help="wait, and exit 9 unless the gate passes")
    how = parser.add_argument_group("How to go about it")
    how.add_argument("--plan-only", action="store_true", help="print the plan and queue nothing")
    how.add_argument("--wait", action="store_true", help="return when it has ended, with its exit status")
    how.add_argument("--follow", action="store_true", help="the same as --wait (the default on a terminal)")
    how.add_argument("--detach", action="store_true", help="queue it and return at once, also on a terminal")
    how.add_argument("--timeout", type=seconds, metavar="TIME", help="wait no longer than this: 90, 5m, 2h")


def run(call: Call) -> int:
    options = call.options
    spec = spec_with_outputs(call)
    if options.plan_only:
        return print_plan(call, spec)
    key = str(uuid.uuid4())
    call.reach_daemon()
    queued = ask(call, lambda client: client.start_tune(spec, key))
    if not _waits(call):
        return _queued(call, queued)
    call.screen.say(f"{queued.get('name')} ({queued['pipeline']})")
    tune = watch_tune(call, queued["pipeline"], timeout=options.timeout)
    return finish(call, tune, require_gate=options.require_gate)


def spec_with_outputs(call: Call) -> dict[str, Any]:
    """The request, with what to export and whether to serve."""
    options = call.options
    if options.export:
        formats = [f'"{name.strip()}"' for name in options.export.split(",") if name.strip()]
        options.set.append(f"export.formats=[{', '.join(formats)}]")
    if options.no_serve:
        options.set.append("serve.enabled=false")
    return spec_from(options)


def watch_tune(call: Call, pipeline: str, *, timeout: float | None) -> dict[str, Any]:
    """Follow a tune; an interrupted person is told that it goes on."""
    try:
        return follow_pipeline(call, pipeline, timeout=timeout)
    except KeyboardInterrupt:
        call.screen.say(f"It goes on without you: `luthier watch {pipeline}` · `luthier job cancel {pipeline}`")
        raise


def finish(call: Call, tune: Mapping[str, Any], *, require_gate: bool = False) -> int:
    """Print what a finished tune came to. Raises the error it ended with, and ``GateRefused`` where asked for."""
    failure = outcome(dict(tune))
    if failure is None and require_gate:
        failure = _gate_refusal(tune)
    if call.screen.as_json:
        call.screen.value(tune)
    elif failure is None or isinstance(failure, GateRefused):
        call.screen.show("")
        call.screen.pairs(tune_pairs(tune))
        call.screen.say(_next_steps(tune))
    if failure is not None:
        if failure.hint is None and not isinstance(failure, GateRefused):
            failure.hint = f"`luthier why {tune.get('pipeline')}` says more."
        raise failure
    return 0


def _waits(call: Call) -> bool:
    options = call.options
    asked = options.wait or options.follow or options.require_gate or options.timeout is not None
    return bool(asked or (not options.detach and not call.screen.plain and not call.screen.as_json))


def _queued(call: Call, queued: Mapping[str, Any]) -> int:
    if call.screen.as_json:
        call.screen.value(queued)
        return 0
    name = queued.get("name") or queued["pipeline"]
    call.screen.show(str(queued["pipeline"]))
    call.screen.say(f"Queued as {name}. `luthier watch {name}` follows it, `luthier why {name}` explains it.")
    return 0


def _gate_refusal(tune: Mapping[str, Any]) -> LuthierError | None:
    gate = (tune.get("evaluation") or {}).get("gate") or {}
    if gate.get("passed"):
        return None
    lines = "; ".join(map(str, gate.get("lines") or ())) or "nothing was evaluated"
    hint = "The model stays a candidate: it is served under its own id only."
    return GateRefused(f"{tune.get('name')} is not proven better: {lines}", hint=hint)


def _next_steps(tune: Mapping[str, Any]) -> str:
    deployment = tune.get("deployment") or {}
    took = [seconds_of(job) for job in tune.get("jobs") or ()]
    total = duration_text(sum(part for part in took if part is not None))
    if deployment.get("model"):
        return f"Done in {total}. Next: luthier run {deployment['model']} · luthier endpoint --format python"
    return f"Done in {total}. Next: luthier serve {tune.get('name')}"


COMMAND = Command(
    about="Turn a dataset into a proven, served model: take in, plan, train, evaluate, export, verify, serve.\n\n"
    "On a terminal it is followed until it ends; elsewhere it is queued and its id is printed,\n"
    "unless --wait is given. Ctrl-C stops the watching, never the work.",
    usage="FILE|DATASET|RECIPE.toml [options]",
    configure=configure,
    run=run,
    examples=(
        "luthier tune chats.jsonl",
        "luthier tune faq.csv --base ~/models/llama-1b --map prompt=question --map answer=reply",
        "luthier tune recipe.toml --set training.rank=8 --wait --json",
        "luthier tune chats.jsonl --goal best --export gguf:q8_0 --require-gate",
    ),
    exits=(0, 1, 2, 3, 4, 6, 7, 8, 9, 124, 130),
)
