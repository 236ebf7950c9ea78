"""``luthier evaluate``: score a model against its base, on held-out rows and on what the base could do."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from appliance.cli.arguments import at_least_one, existing_file, seconds
from appliance.cli.command import Call, Command
from appliance.cli.follow import follow_job, outcome
from appliance.cli.summary import gate_line
from appliance.client import Client
from appliance.errors import UsageError
from appliance.spec import EvaluationSpec


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's id or name")
    parser.add_argument("--data", metavar="DATASET", help="whose held-out rows; the one it was tuned on by default")
    parser.add_argument("--retention", metavar="FILE", help="exercises for what the base can do: JSON lines")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="most held-out rows to answer (200)")
    parser.add_argument("--detach", action="store_true", help="queue it and return at once")
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="wait no longer than this: 90, 5m, 2h")


def run(call: Call) -> int:
    with call.client() as client:
        job = _submit(call, client)
    if call.options.detach:
        if call.screen.as_json:
            call.screen.value(job)
        else:
            call.screen.show(str(job["id"]))
        return 0
    job = follow_job(call, job["id"], timeout=call.options.timeout)
    if failure := outcome(job):
        raise failure
    evaluation = (job.get("result") or {}).get("evaluation") or {}
    if call.screen.as_json:
        call.screen.value(evaluation)
        return 0
    call.screen.pairs((("gate", gate_line(evaluation)), ("model", evaluation.get("model"))))
    for line in (evaluation.get("gate") or {}).get("lines") or ():
        call.screen.show(f"  {line}")
    return 0


def _submit(call: Call, client: Client) -> dict[str, Any]:
    options = call.options
    model = client.model(options.model)
    dataset = options.data or model.get("dataset")
    if not dataset and not options.retention:
        raise UsageError(
            f"{model.get('name')} was not tuned here, so there are no held-out rows to score it on.",
            hint="Name a dataset with --data, or exercises with --retention.",
        )
    wanted: dict[str, Any] = asdict(EvaluationSpec())
    if options.retention:
        wanted["retention"] = existing_file(options.retention)
    if options.limit:
        wanted["limit"] = options.limit
    inputs = {"model": model["id"]} | ({"dataset": dataset} if dataset else {})
    return client.submit("evaluate", {"evaluation": wanted, "name": model["name"]}, name=model["name"], inputs=inputs)


COMMAND = Command(
    about="Score a model against its base: held-out rows, and what the base could do before.",
    usage="MODEL [options]",
    configure=configure,
    run=run,
    examples=("luthier evaluate support-faq", "luthier evaluate support-faq --retention skills.jsonl --json"),
    exits=(0, 1, 2, 3, 4, 124),
)
