"""What was asked, what became of the data, what was planned and why, and how the training went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.text import bytes_text, duration_text

from .charts import loss_chart, rate_chart, sparkline, stacked
from .document import Block, Cell, Figure, Pairs, Paragraph, Section, Table
from .facts import Curve, Facts

ROW_STATES = {
    "kept": "trained on",
    "held_out": "kept aside for validation and test, never trained on",
    "duplicate": "identical to an earlier row",
    "near_duplicate": "almost identical to an earlier row",
    "over_length": "longer than the model reads",
    "invalid": "could not be understood",
    "nothing_to_learn": "without an answer to learn",
    "quarantined": "set aside for a person to look at",
}
_SEVERITIES = {"error": "bad", "warning": "warn"}
_FINDINGS = 20


def asked(facts: Facts) -> Section:
    """The order, in the words of who gave it."""
    source = facts.dataset.get("source") or {}
    pairs: list[tuple[str, str | Cell]] = [("Name", facts.name)]
    if source.get("name"):
        pairs.append(("Dataset", f"{source['name']} ({bytes_text(source.get('bytes'))})"))
    base = facts.model.get("base")
    if base:
        pairs.append(("Base model", Cell(text=str(base), code=True)))
    if facts.plan.get("method"):
        pairs.append(("Method", str(facts.plan["method"])))
    chosen = _chosen(facts)
    pairs.append(("Values given", ", ".join(chosen) if chosen else "none: everything was planned"))
    if facts.question:
        pairs.append(("Question for the endpoint", facts.question))
    return Section("asked", "What was asked", (Pairs(tuple(pairs)),))


def data(facts: Facts) -> Section | None:
    """The ledger: every row of the file has one fate."""
    rows = facts.dataset.get("rows")
    if not isinstance(rows, Mapping):
        return None
    states = [(name, int(rows.get(name) or 0)) for name in ROW_STATES]
    blocks: list[Block] = [
        Paragraph(f"Every one of the {int(rows.get('total') or 0):,} rows of the file has one fate."),
        Figure(stacked(states), "", ", ".join(f"{count} {name}" for name, count in states if count)),
        Table(("State", "Rows", "Share", "What it means"), tuple(_ledger(states)), frozenset({1, 2})),
    ]
    if rows.get("fixed"):
        blocks.append(Paragraph(f"{rows['fixed']:,} of the rows kept were mended on the way in.", "quiet"))
    splits = facts.dataset.get("splits") or {}
    if splits:
        listed = ", ".join(f"{count:,} {name}" for name, count in splits.items() if isinstance(count, int))
        blocks.append(Paragraph(f"Examples: {listed}. Format: {facts.dataset.get('format', 'unknown')}.", "quiet"))
    findings = facts.dataset.get("findings") or []
    if findings:
        listed_findings = tuple(_finding(finding) for finding in findings[:_FINDINGS])
        blocks.append(Table(("Finding", "Where", "What to do"), listed_findings))
    if len(findings) > _FINDINGS:
        blocks.append(Paragraph(f"{len(findings) - _FINDINGS} more findings are in dataset.json.", "quiet"))
    return Section("data", "The data", tuple(blocks))


def plan(facts: Facts) -> Section | None:
    """Every value of the plan with its reason."""
    reasons = facts.plan.get("reasons")
    if not isinstance(reasons, Mapping):
        return None
    rows = []
    for name, sentence in reasons.items():
        value, _, reason = str(sentence).partition(", because ")
        rows.append((name.replace("_", " "), value, reason))
    blocks: list[Block] = [Table(("Value", "Chosen", "Because"), tuple(rows))]
    memory, seconds = facts.plan.get("memory") or {}, facts.plan.get("seconds") or {}
    expected = []
    if memory:
        sizes = [
            f"{bytes_text(memory[key])} {place}"
            for key, place in (
                ("device_bytes", "on the device"),
                ("host_bytes", "of memory"),
                ("disk_bytes", "of disk"),
            )
            if memory.get(key)
        ]
        expected.append(f"{', '.join(sizes)}")
    if seconds.get("expected") is not None:
        low, high = duration_text(seconds.get("low")), duration_text(seconds.get("high"))
        expected.append(f"{duration_text(seconds['expected'])} of training ({low} to {high})")
    if expected:
        blocks.append(Paragraph(f"Expected: {'; '.join(expected)}.", "quiet"))
    return Section("plan", "The plan, and why", tuple(blocks))


def training(facts: Facts) -> Section | None:
    """The curve and its figures."""
    if not facts.training and not facts.curve.loss:
        return None
    blocks: list[Block] = [*_figures(facts.curve), Pairs(tuple(_training_pairs(facts)))]
    if facts.curve.warnings:
        blocks.append(Table(("Warnings while training",), tuple((line,) for line in facts.curve.warnings)))
    return Section("training", "The training", tuple(blocks))


def _chosen(facts: Facts) -> list[str]:
    """The values somebody set, rather than leaving them to the plan."""
    if facts.job is None:
        return []
    spec: dict[str, Any] = dict(facts.job.spec.get("training") or {})
    given = {name: value for name, value in spec.items() if value is not None}
    for name, default in (("method", "auto"), ("goal", "balanced"), ("seed", 0)):
        if given.get(name) == default:
            given.pop(name)
    data_spec = facts.job.spec.get("data") or {}
    if data_spec.get("replay_share"):
        given["replay_share"] = data_spec["replay_share"]
    return [f"{name.replace('_', ' ')} {value}" for name, value in given.items()]


def _ledger(states: list[tuple[str, int]]) -> list[tuple[str | Cell, ...]]:
    total = sum(count for _, count in states) or 1
    return [
        (
            Cell(text=name.replace("_", " "), drawing=f'<i class="swatch part-{index}"></i>'),
            f"{count:,}",
            f"{100 * count / total:.1f} %",
            ROW_STATES[name],
        )
        for index, (name, count) in enumerate(states)
        if count
    ]


def _finding(finding: Mapping[str, Any]) -> tuple[str | Cell, ...]:
    tone = _SEVERITIES.get(str(finding.get("severity")), "plain")
    return (
        Cell(text=str(finding.get("message") or finding.get("code") or ""), tone=tone),  # type: ignore[arg-type]
        str(finding.get("where") or ""),
        str(finding.get("fix") or ""),
    )


def _figures(curve: Curve) -> list[Block]:
    blocks: list[Block] = []
    drawing = loss_chart(curve.loss, curve.validation)
    if drawing:
        words = f"training {curve.loss[0][1]:.3g} {sparkline(curve.loss)} {curve.loss[-1][1]:.3g}"
        if curve.validation:
            words += f"; validation {curve.validation[0][1]:.3g} to {curve.validation[-1][1]:.3g}"
        caption = "Loss of each step (pale), smoothed (line), and on the validation split (dots), in nats a token."
        blocks.append(Figure(drawing, caption, words))
    rates = rate_chart(curve.learning_rate)
    if rates:
        blocks.append(Figure(rates, "", f"learning rate {sparkline(curve.learning_rate)}"))
    return blocks


def _training_pairs(facts: Facts) -> list[tuple[str, str]]:
    done = facts.training
    pairs = [
        ("Steps", _number(done.get("steps"), ",.0f")),
        ("Loss, first to last step", f"{_number(done.get('first_loss'))} → {_number(done.get('final_loss'))}"),
        ("Best validation loss", _number(done.get("best_validation_loss"))),
        ("Tokens", _number(done.get("tokens"), ",.0f")),
        ("Tokens a second", _number(done.get("tokens_per_second"), ",.0f")),
        ("Most memory", bytes_text(done.get("peak_memory_bytes"))),
        ("Time", duration_text(done.get("seconds"))),
    ]
    if done.get("resumed_from"):
        pairs.append(("Resumed from step", _number(done["resumed_from"], ",.0f")))
    if facts.curve.attempts > 1:
        pairs.append(("Attempts", str(facts.curve.attempts)))
    return pairs


def _number(value: Any, form: str = ".4g") -> str:
    return format(value, form) if isinstance(value, int | float) else "unknown"
