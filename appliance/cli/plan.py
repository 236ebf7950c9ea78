"""``luthier plan``: what this machine would do about a dataset, each value with its reason. Asks no daemon."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.cli.child import ask_child
from appliance.cli.command import Call, Command
from appliance.cli.curve import number_text
from appliance.cli.request import add_spec_options, base_folder, spec_from
from appliance.errors import UsageError
from appliance.text import bytes_text, duration_text

_ORDER = (
    "method",
    "devices",
    "base_precision",
    "rank",
    "alpha",
    "dropout",
    "sequence_length",
    "batch",
    "micro_batch",
    "accumulation",
    "steps",
    "epochs",
    "learning_rate",
    "schedule",
    "warmup",
    "weight_decay",
    "clip",
    "checkpointing",
    "save_every",
    "validate_every",
    "replay_share",
)

_BAR = 28
"""Columns of the longest bar."""
_EIGHTHS = "▏▎▍▌▋▊▉"
_PARTS = {
    "weights": "base weights",
    "optimizer": "optimizer states",
    "casts": "weights in bf16",
    "logits": "logits and loss",
    "backward": "one layer's backward pass",
    "embedding": "gradient of the embedding",
    "runtime": "CUDA context",
    "margin": "margin",
}


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="FILE|RECIPE.toml", help="a data file or a recipe")
    add_spec_options(parser)
    parser.add_argument(
        "--hardware", metavar="MACHINE", help="plan for another: fake:1x24GB,host=64GB, a GPU's name, a file"
    )


def run(call: Call) -> int:
    return print_plan(call, spec_from(call.options), hardware=call.options.hardware)


def print_plan(call: Call, spec: Mapping[str, Any], *, hardware: str | None = None) -> int:
    """Let a child plan, and show what it says."""
    if not (spec.get("data") or {}).get("path"):
        raise UsageError("A plan is made from a file, and no daemon is asked.", hint="luthier plan FILE --base DIR")
    named = str((spec.get("base") or {}).get("model") or "starter")
    base = named if named.startswith("catalogue:") else base_folder(named)
    arguments = ["--spec-file", "-", "--base", base]
    arguments += ["--hardware", hardware] if hardware else []
    call.screen.live("looking at the data and at this machine…")
    plan = ask_child(call, "profiles", "plan", *arguments, stdin=json.dumps(spec))
    call.screen.clear()
    if call.screen.as_json:
        call.screen.value(plan)
        return 0
    call.screen.table(("", "value", "because"), plan_rows(plan), paragraph="because")
    call.screen.show("")
    call.screen.table(("memory", "size", "share"), memory_rows(plan), right=("size",))
    call.screen.show("")
    call.screen.pairs(cost_pairs(plan))
    return 0


def plan_rows(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every value that has one, with its reason."""
    reasons = plan.get("reasons") or {}
    for name in (*_ORDER, *(key for key in reasons if key not in _ORDER)):
        value = plan.get(name)
        if value is None or (name not in reasons and name not in plan):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else _value(value)
        yield name.replace("_", " "), text, _reason(str(reasons.get(name) or ""))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else number_text(value)


def _reason(text: str) -> str:
    """The part after the value, which stands in its own column."""
    return text.partition(", because ")[2] or text.removeprefix("because ")


def memory_rows(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Where the memory goes: each part with its size and a bar, the longest for the largest."""
    parts = (plan.get("memory") or {}).get("parts") or {}
    largest = max(parts.values(), default=0)
    for name, size in parts.items():
        if size:
            eighths = round(_BAR * 8 * size / largest)
            bar = "█" * (eighths // 8) + ("", *_EIGHTHS)[eighths % 8]
            yield _PARTS.get(name, name), bytes_text(size), bar or _EIGHTHS[0]


def cost_pairs(plan: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What it will take."""
    memory, time = plan.get("memory") or {}, plan.get("seconds") or {}
    device, host = memory.get("device_bytes"), memory.get("host_bytes")
    places = [f"{bytes_text(device)} on the device"] if device else []
    places += [f"{bytes_text(host)} of host memory"] if host else []
    yield "memory", " · ".join(places) or None
    yield "disk", bytes_text(memory["disk_bytes"]) if memory.get("disk_bytes") else None
    if time.get("expected") is not None:
        spread = f" ({duration_text(time.get('low'))} to {duration_text(time.get('high'))})"
        yield "time", f"about {duration_text(time['expected'])}{spread}"
    if plan.get("energy_joules"):
        yield "energy", f"{plan['energy_joules'] / 3.6e6:.3g} kWh at most"
    fitting = [str(other["method"]) for other in plan.get("alternatives") or () if other.get("fits")]
    yield "also fits", ", ".join(fitting) or None


COMMAND = Command(
    about="Say what this machine would do about a dataset, and why. Queues nothing and asks no daemon.",
    usage="FILE|RECIPE.toml [--base DIR] [options]",
    configure=configure,
    run=run,
    examples=(
        "luthier plan chats.jsonl",
        "luthier plan chats.jsonl --base ~/models/llama-1b --hardware fake:1x24GB,host=64GB",
        "luthier plan chats.jsonl --base catalogue:llama-3.1-8b --hardware RTX4090",
        "luthier plan chats.jsonl --set training.rank=64 --json",
    ),
    exits=(0, 2, 4, 7, 8),
)
