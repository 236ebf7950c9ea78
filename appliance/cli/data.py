"""``luthier data``: files taken in, and what became of every row."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance.cli.arguments import assignments, at_least_one, existing_file, seconds
from appliance.cli.card import example_lines, read_examples, show_card
from appliance.cli.child import ask_child
from appliance.cli.command import Call, Command
from appliance.cli.follow import follow_job, outcome
from appliance.cli.request import base_folder, base_model
from appliance.cli.words import age_text, listed
from appliance.errors import DataRejected
from appliance.spec import DataSpec

_STATES = (
    "kept",
    "fixed",
    "duplicate",
    "near_duplicate",
    "invalid",
    "over_length",
    "nothing_to_learn",
    "held_out",
    "quarantined",
)


def _configure_file(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON, JSON Lines, CSV, text, …")
    parser.add_argument("--base", metavar="DIR", help="a base model: its tokenizer tells what is too long")
    parser.add_argument(
        "--format", default="auto", metavar="NAME", help="how the file is laid out; inferred by default"
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="FIELD=COLUMN", help="which column is which field"
    )
    parser.add_argument(
        "--over-length",
        choices=("stop", "drop", "split", "truncate"),
        default="drop",
        metavar="POLICY",
        help="what happens to an example that is too long: stop, drop, split, truncate",
    )


def _check(call: Call) -> int:
    options = call.options
    arguments = [existing_file(options.file), "--format", options.format, "--over-length", options.over_length]
    if options.base:
        arguments += ["--base", base_folder(options.base)]
    for field, column in assignments(options.map, "--map").items():
        arguments += ["--map", f"{field}={column}"]
    call.screen.live("reading…")
    dataset = ask_child(call, "appliance.data.check", *arguments)
    call.screen.clear()
    return _report(call, dataset)


def _report(call: Call, dataset: dict[str, Any]) -> int:
    """Print a dataset's card; exit 8 when a finding says that it cannot be trained on."""
    if call.screen.as_json:
        call.screen.value(dataset)
    else:
        show_card(call, dataset)
    errors = [finding for finding in dataset.get("findings") or () if finding.get("severity") == "error"]
    return DataRejected.exit_status if errors else 0


def _configure_add(parser: ArgumentParser) -> None:
    _configure_file(parser)
    parser.add_argument("--name", help="what to call it; the file's name by default")
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="wait no longer than this: 90, 5m, 2h")


def _add(call: Call) -> int:
    options = call.options
    wanted = DataSpec(
        path=existing_file(options.file),
        format=options.format,
        mapping=assignments(options.map, "--map"),
        over_length=options.over_length,
    )
    inputs = {"base": base_model(options.base)} if options.base else {}
    with call.client() as client:
        job = client.submit("ingest", {"data": asdict(wanted)}, name=options.name, inputs=inputs)
    ended = follow_job(call, job["id"], timeout=options.timeout)
    if failure := outcome(ended):
        raise failure
    with call.client() as client:
        made = [dataset for dataset in client.datasets() if dataset.get("job") == job["id"]]
    return _report(call, made[0] if made else (ended.get("result") or {}).get("dataset") or {})


def _ls(call: Call) -> int:
    with call.client() as client:
        datasets = client.datasets()
    if call.screen.as_json:
        call.screen.value(listed("datasets", datasets))
        return 0
    if not datasets:
        call.screen.say("No datasets yet; `luthier data add FILE` takes one in.")
        return 0
    columns = ("ID", "NAME", "FORMAT", "ROWS", "TRAIN", "HELD OUT", "ADDED")
    call.screen.table(columns, [_row(dataset) for dataset in datasets], right=("ROWS", "TRAIN", "HELD OUT"))
    return 0


def _row(dataset: dict[str, Any]) -> tuple[object, ...]:
    rows, splits = dataset.get("rows") or {}, dataset.get("splits") or {}
    counts = (rows.get("total"), splits.get("train"), rows.get("held_out"))
    return (
        dataset["id"],
        dataset.get("name"),
        dataset.get("format"),
        *(f"{count:,}" if count is not None else None for count in counts),
        age_text(dataset.get("created_at")),
    )


def _configure_name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="DATASET", help="an id, the beginning of one, or a name")


def _show(call: Call) -> int:
    with call.client() as client:
        dataset = client.dataset(call.options.name)
    if call.screen.as_json:
        call.screen.value(dataset)
    else:
        show_card(call, dataset)
    return 0


def _configure_rows(parser: ArgumentParser) -> None:
    _configure_name(parser)
    parser.add_argument(
        "--state", choices=_STATES, metavar="STATE", help="only rows with this end: " + ", ".join(_STATES)
    )
    parser.add_argument("-n", "--limit", type=at_least_one, default=20, metavar="N", help="how many (20)")


def _rows(call: Call) -> int:
    options = call.options
    with call.client() as client:
        rows = client.rows(options.name, state=options.state, limit=options.limit)
    if call.screen.as_json:
        call.screen.value(listed("rows", rows))
        return 0
    if not rows:
        call.screen.say("No such rows.")
        return 0
    call.screen.table(
        ("ROW", "STATE", "WHY"), [(row.get("row"), row.get("state"), _why(row)) for row in rows], right=("ROW",)
    )
    if len(rows) == options.limit:
        call.screen.say(f"The first {options.limit}; -n shows more, --state chooses.")
    return 0


def _why(row: dict[str, Any]) -> str:
    """What the ledger says of a row beyond its state."""
    told = [row.get("split"), row.get("reason") or row.get("message") or row.get("why")]
    return ", ".join(str(part) for part in told if part)


def _configure_preview(parser: ArgumentParser) -> None:
    _configure_name(parser)
    parser.add_argument("-n", "--limit", type=at_least_one, default=3, metavar="N", help="how many (3)")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "replay"),
        default="train",
        metavar="SPLIT",
        help="train, validation, test or replay",
    )


def _preview(call: Call) -> int:
    options = call.options
    with call.client() as client:
        dataset = client.dataset(options.name)
    examples = read_examples(Path(str(dataset["path"])), options.split, options.limit)
    if call.screen.as_json:
        call.screen.value(listed("preview", examples))
        return 0
    for example in examples:
        call.screen.show(*example_lines(example))
    if not examples:
        call.screen.say(f"{dataset.get('name')} has no {options.split} examples.")
    return 0


def _rm(call: Call) -> int:
    with call.client() as client:
        dataset = client.dataset(call.options.name)
        client.remove_dataset(dataset["id"])
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.removed/1", "id": dataset["id"], "name": dataset.get("name")})
    else:
        call.screen.say(f"{dataset.get('name')} is removed; the file it came from is untouched.")
    return 0


COMMAND = Command(
    about="Files taken in, and what became of every row.",
    usage="VERB [options]",
    verbs={
        "check": Command(
            about="Say what would become of a file's rows. Keeps nothing and asks no daemon.",
            usage="FILE [options]",
            configure=_configure_file,
            run=_check,
            examples=("luthier data check chats.jsonl", "luthier data check faq.csv --map prompt=question --json"),
            exits=(0, 2, 4, 8),
        ),
        "add": Command(
            about="Take a file in: check it, split it, and keep a ledger of every row.",
            usage="FILE [options]",
            configure=_configure_add,
            run=_add,
            examples=("luthier data add chats.jsonl --name support-faq",),
            exits=(0, 2, 3, 4, 8, 124),
        ),
        "ls": Command(about="List the datasets.", run=_ls, examples=("luthier data ls",), exits=(0, 3)),
        "show": Command(
            about="What is known of one dataset.",
            usage="DATASET",
            configure=_configure_name,
            run=_show,
            examples=("luthier data show support-faq",),
            exits=(0, 3, 4),
        ),
        "rows": Command(
            about="What became of each row of the file.",
            usage="DATASET [--state STATE]",
            configure=_configure_rows,
            run=_rows,
            examples=("luthier data rows support-faq --state duplicate",),
            exits=(0, 2, 3, 4),
        ),
        "preview": Command(
            about="The first examples as the model will learn them; what is learnt is marked.",
            usage="DATASET [--split SPLIT]",
            configure=_configure_preview,
            run=_preview,
            examples=("luthier data preview support-faq -n 5",),
            exits=(0, 2, 3, 4),
        ),
        "rm": Command(
            about="Forget a dataset. The file it came from is untouched.",
            usage="DATASET",
            configure=_configure_name,
            run=_rm,
            examples=("luthier data rm support-faq",),
            exits=(0, 3, 4, 5),
        ),
    },
)
