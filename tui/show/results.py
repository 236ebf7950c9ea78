"""What a job decided and what it gave: the plan with its reasons, the error with its hint, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from appliance.text import bytes_text, duration_text
from tui.show.data import ledger
from tui.show.models import artifacts, gate, retention, scores
from tui.show.words import count, lines_of, one_line
from tui.world import Thing, items, number, section

_PLAN_FIELDS = (
    *("method", "adapter", "objective", "base_precision", "devices", "micro_batch", "accumulation"),
    *("sequence_length", "steps", "epochs", "learning_rate", "schedule", "warmup", "weight_decay", "clip"),
    *("rank", "alpha", "dropout", "optimizer", "checkpointing", "packing", "save_every", "validate_every"),
    *("replay_share", "seed"),
)


def plan(found: Thing, width: int) -> Content:
    """Every value of a plan with its reason, the estimates first."""
    if not found:
        return Content.styled("No plan yet: it is made once the data is taken in.", "$quiet")
    reasons = section(found, "reasons")
    lines = [_estimates(found), Content("")]
    for field in _PLAN_FIELDS:
        if field in found:
            lines += _planned(field, found[field], str(reasons.get(field) or ""), width)
    return Content("\n").join(lines)


def _planned(field: str, value: object, reason: str, width: int) -> list[Content]:
    """A value, and the reason beside it or, where there is no room, below it."""
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    head = Content.assemble((f"{field.replace('_', ' '):16} ", "$quiet"), (f"{one_line(shown, 12):<12}", "bold"))
    why = one_line(reason.partition(", because ")[2] or reason)
    why = f"because {why}" if ", because " in reason else why
    if len(why) <= width - 30:
        return [Content.assemble(head, (f" {why}", "$quiet"))]
    return [head, *(Content.styled(f"  {line}", "$quiet") for line in lines_of(why, width - 4, 4))]


def _estimates(found: Thing) -> Content:
    seconds, memory = section(found, "seconds"), section(found, "memory")
    parts = [
        ("time ", duration_text(number(seconds.get("expected")))),
        ("memory ", bytes_text(number(memory.get("host_bytes")))),
        ("on the device ", bytes_text(number(memory.get("device_bytes")))),
        ("disk ", bytes_text(number(memory.get("disk_bytes")))),
    ]
    energy = number(found.get("energy_joules"))
    parts += [("energy ", f"{energy / 3.6e6:.3f} kWh")] if energy is not None else []
    pieces = [Content.assemble((label, "$quiet"), text) for label, text in parts if text != "unknown"]
    return Content("   ").join(pieces)


def failure(job: Thing) -> Content:
    """An error: what is wrong, what to do, and the fixes on offer."""
    error = section(job, "error")
    message = one_line(error.get("message") or "It failed and left no message; its log says more.")
    lines = [Content.assemble(("✖ ", "$error"), message)]
    if error.get("hint"):
        lines.append(Content.assemble(("→ ", "$success"), one_line(error["hint"])))
    for number_, fix in enumerate(items(error, "fixes"), 1):
        lines.append(
            Content.assemble((f"  {number_} ", "bold"), one_line(fix.get("title") or fix.get("message") or dict(fix)))
        )
    code = one_line(error.get("code") or "", 40)
    where = one_line(error.get("where") or "", 200)
    lines.append(Content.styled("  ".join(part for part in (code, where) if part), "$quiet"))
    return Content("\n").join(lines)


def result(job: Thing, width: int) -> Content:
    """A job's result, in the way of its kind."""
    found = section(job, "result")
    if not found:
        return Content.styled("No result yet.", "$quiet")
    blocks: list[Content] = []
    if rows := section(section(found, "dataset"), "rows"):
        blocks.append(ledger(rows, min(width, 72)))
    if section(found, "plan"):
        blocks.append(plan(section(found, "plan"), width))
    if evaluation := section(found, "evaluation"):
        blocks += [scores(evaluation, width), retention(evaluation, width), gate(evaluation, width)]
    blocks += [_sample(sample, width) for sample in items(found, "samples")[:5]]
    if files := items(found, "artifacts"):
        blocks.append(artifacts(files, width))
    if training := section(found, "training"):
        blocks.append(_table(_training(training)))
    rest = {key: value for key, value in found.items() if isinstance(value, str | int | float)}
    if rest:
        blocks.append(_table({key: one_line(value, max(10, width - 20)) for key, value in rest.items()}))
    return Content("\n\n").join(blocks)


def _training(training: Thing) -> dict[str, str]:
    peak, seconds = number(training.get("peak_memory_bytes")), number(training.get("seconds"))
    shown = {
        "steps": count(number(training.get("steps"))),
        "loss": f"{_real(training.get('first_loss'))} → {_real(training.get('final_loss'))}",
        "best validation": _real(training.get("best_validation_loss")),
        "tokens": count(number(training.get("tokens"))),
        "speed": f"{count(number(training.get('tokens_per_second')))} tok/s",
        "peak memory": bytes_text(peak),
        "took": duration_text(seconds),
    }
    if training.get("resumed_from"):
        shown["resumed from"] = f"step {training['resumed_from']}"
    return shown


def _sample(sample: Thing, width: int) -> Content:
    """One held-out question with what was expected, what the base said and what this model says."""
    parts: list[tuple[str, object, str]] = [
        ("asked", sample.get("prompt"), "bold"),
        ("expected", sample.get("expected"), ""),
        ("base", sample.get("base"), "$quiet"),
        ("tuned", sample.get("tuned"), "$primary"),
    ]
    room = max(10, width - 10)
    return Content("\n").join(
        Content.assemble((f"{label:9} ", "$quiet"), (one_line(_said(value), room), colour))
        for label, value, colour in parts
    )


def _said(value: object) -> str:
    """Text, or the last message of a conversation."""
    if isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[-1], Mapping):
        return str(value[-1].get("content"))
    return str(value)


def _table(rows: Mapping[str, str]) -> Content:
    width = max(len(key) for key in rows)
    return Content("\n").join(Content.assemble((f"{key:{width}}  ", "$quiet"), value) for key, value in rows.items())


def _real(value: object) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.4f}"
