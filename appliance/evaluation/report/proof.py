"""Is it better, and did it forget? The verdict, the scores with their intervals, the skills, and answers to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.evaluation.gate import p_text
from appliance.evaluation.metrics import METRICS, Metric
from appliance.text import duration_text

from .charts import strip
from .document import Block, Cell, Paragraph, Sample, Samples, Section, Table, Tile, Tiles, Tone, Verdict
from .facts import Facts

_TONES: dict[str, Tone] = {"better": "good", "worse": "bad"}


def verdict(facts: Facts) -> tuple[Block, ...]:
    """The opening: one sentence and the numbers it rests on."""
    gate = facts.evaluation.get("gate")
    if not isinstance(gate, Mapping):
        return (Verdict("Not evaluated", ("This pipeline has no evaluation, so nothing is proven.",), "warn"),)
    lines = tuple(str(line) for line in gate.get("lines") or ())
    retention = facts.evaluation.get("retention") or {}
    if not gate.get("passed"):
        title, tone = _refused(facts.evaluation, retention)
    elif retention.get("passed"):
        title, tone = "Better, and did not forget", "good"
    else:
        title, tone = "Better; what it may have forgotten is not measured", "good"
    tiles = _tiles(facts, retention)
    return (Verdict(title, lines, tone), *((Tiles(tiles),) if tiles else ()))


def results(facts: Facts) -> Section | None:
    """Every task with both scores, their intervals, the difference and what may be said of it."""
    tasks = facts.evaluation.get("tasks") or []
    if not tasks:
        return None
    head = ("Measured on held-out examples", "Base", "Tuned", "○ base  ● tuned", "Difference", "p", "Verdict")
    # A row without a known metric comes from a later release and cannot be shown truthfully.
    known = [task for task in tasks if task.get("metric") in METRICS]
    rows = tuple(_result_row(task) for task in known)
    counts = sorted({int(task["n"]) for task in known})
    note = (
        f"{' to '.join(str(count) for count in (counts[0], counts[-1])[: len(set(counts))])} examples that were in no "
        "training step, the same for both models. "
        "Brackets are 95 % intervals. The tests are paired, and p is corrected for their number (Holm). "
        "Verdicts need p < 0.05."
        if counts
        else ""
    )
    blocks: list[Block] = [Table(head, rows, frozenset({1, 2, 4, 5})), Paragraph(note, "quiet")]
    blocks += [Paragraph(f"{task['label']}: {task['note']}", "quiet") for task in known if task.get("note")]
    return Section("results", "Is it better?", tuple(blocks))


def kept(facts: Facts) -> Section | None:
    """What the base could do, skill by skill."""
    retention = facts.evaluation.get("retention")
    if not isinstance(retention, Mapping):
        return None
    blocks: list[Block] = []
    skills = retention.get("skills") or {}
    if skills:
        head = ("Skill", "Exercises", "Base", "Tuned", "Kept", "")
        rows = tuple(_skill_row(str(name), skill) for name, skill in skills.items())
        blocks.append(Table(head, (*rows, *_overall_row(retention)), frozenset({1, 2, 3, 4})))
    elif retention.get("overall"):
        overall = retention["overall"]
        cells = (str(overall["n"]), f"{overall['base']:.4g}", f"{overall['tuned']:.4g}", _share(overall["kept"]))
        names = ("Replayed examples", "Loss of the base", "Loss when tuned", "Probability kept")
        blocks.append(Table(names, (cells,), frozenset({0, 1, 2, 3})))
    if retention.get("reason"):
        blocks.append(Paragraph(_sentence(str(retention["reason"]))))
    if retention.get("rule"):
        blocks.append(Paragraph(f"The rule: {retention['rule']}", "quiet"))
    return Section("kept", "What did it keep?", tuple(blocks))


def answers(facts: Facts) -> Section | None:
    """Answers of both models side by side, for the reader's own eyes."""
    if not facts.samples:
        return None
    samples = tuple(_sample(sample) for sample in facts.samples)
    blocks: list[Block] = [Samples(samples)]
    if facts.answers:
        blocks.append(Paragraph(f"All answers: {facts.answers}", "quiet"))
    return Section("answers", "In its own words", tuple(blocks))


def _refused(evaluation: Mapping[str, Any], retention: Mapping[str, Any]) -> tuple[str, Tone]:
    verdicts = [task.get("verdict") for task in evaluation.get("tasks") or []]
    if "worse" in verdicts:
        return "Worse than its base at something", "bad"
    if "better" in verdicts and retention.get("passed") is False:
        return "Better, but it forgot", "bad"
    return "Not shown to be better than its base", "warn"


def _tiles(facts: Facts, retention: Mapping[str, Any]) -> tuple[Tile, ...]:
    tiles = []
    for task in facts.evaluation.get("tasks") or []:
        if task.get("metric") in ("exact_match", "nll"):
            metric: Metric = METRICS.load(task["metric"])
            base = task.get("baseline")
            note = "" if base is None else f"base: {metric.show(base)}"
            tone = _TONES.get(str(task.get("verdict")), "plain")
            tiles.append(Tile(value=metric.show(task["value"]), label=str(task["label"]), note=note, tone=tone))
    overall = retention.get("overall")
    if overall:
        counted = sum(skill.get("passed") is not None for skill in (retention.get("skills") or {}).values())
        label = "of its skills kept" if counted else "of replayed text kept"
        note = (
            f"{'1 skill' if counted == 1 else f'{counted} skills'}, {overall['n']} exercises"
            if counted
            else f"{overall['n']} examples"
        )
        tone = "good" if retention.get("passed") else "bad"
        tiles.append(Tile(value=_share(overall["kept"]), label=label, note=note, tone=tone))
    if facts.training.get("seconds") is not None:
        note = f"{facts.training['steps']:,} steps" if isinstance(facts.training.get("steps"), int) else ""
        tiles.append(Tile(value=duration_text(facts.training["seconds"]), label="of training", note=note))
    return tuple(tiles)


def _result_row(task: Mapping[str, Any]) -> tuple[str | Cell, ...]:
    metric: Metric = METRICS.load(str(task["metric"]))
    base, word = task.get("baseline"), task.get("verdict") or "not compared"
    ends = [
        value for value in (task["value"], base, *(task.get("ci") or ()), *(task.get("baseline_ci") or ())) if value
    ]
    drawing = strip(
        base,
        task["value"],
        intervals=(task.get("baseline_ci"), task.get("ci")),
        top=1.0 if metric.is_share else 1.05 * max(ends, default=1.0),
    )
    adjusted = task.get("p_adjusted")
    extra = f"perplexity {_perplexity(task['perplexity'])}" if task.get("perplexity") else ""
    if extra and task.get("baseline_perplexity"):
        extra += f", base {_perplexity(task['baseline_perplexity'])}"
    return (
        Cell(text=str(task["label"]), note=extra),
        "–" if base is None else _with_interval(metric, base, task.get("baseline_ci")),
        _with_interval(metric, task["value"], task.get("ci")),
        Cell(text="", drawing=drawing),
        "–" if base is None else _difference(metric, task),
        "–" if adjusted is None else p_text(adjusted).removeprefix("p = ").removeprefix("p "),
        Cell(text=word, tone=_TONES.get(word, "plain")),
    )


def _perplexity(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:,.0f}" if value < 1e7 else f"{value:.1e}"


def _with_interval(metric: Metric, value: float, interval: Sequence[float] | None) -> Cell:
    if not interval:
        return Cell(text=metric.show(value))
    low, high = (f"{100 * bound:.1f}" if metric.is_share else f"{bound:.3g}" for bound in interval)
    return Cell(text=metric.show(value), note=f"[{low}, {high}]")


def _difference(metric: Metric, task: Mapping[str, Any]) -> Cell:
    """The difference, of shares in percentage points."""
    factor, form = (100, "+.1f") if metric.is_share else (1, "+.3g")
    value, *bounds = (
        f"{factor * number:{form}}".replace("-", "−")
        for number in (task["difference"], *(task.get("difference_ci") or ()))
    )
    return Cell(text=value, note=f"[{', '.join(bounds)}]" if bounds else "")


def _skill_row(name: str, skill: Mapping[str, Any]) -> tuple[str | Cell, ...]:
    judged = skill.get("passed")
    word = "the base cannot do it" if judged is None else "kept" if judged else "not kept"
    tone: Tone = "quiet" if judged is None else "good" if judged else "bad"
    return (
        name,
        str(skill["n"]),
        Cell(text=_share(skill["base"]), share=skill["base"]),
        Cell(text=_share(skill["tuned"]), share=skill["tuned"]),
        "–" if skill.get("kept") is None else _share(skill["kept"]),
        Cell(text=word, tone=tone),
    )


def _overall_row(retention: Mapping[str, Any]) -> tuple[tuple[str | Cell, ...], ...]:
    overall = retention.get("overall")
    if not overall:
        return ()
    low = overall.get("kept_low")
    word = "" if low is None else f"at least {_share(low)}"
    tone: Tone = "good" if retention.get("passed") else "bad"
    return (
        (
            "all that the base can do",
            str(overall["n"]),
            Cell(text=_share(overall["base"]), share=overall["base"]),
            Cell(text=_share(overall["tuned"]), share=overall["tuned"]),
            _share(overall["kept"]),
            Cell(text=word, tone=tone),
        ),
    )


def _sample(sample: Mapping[str, Any]) -> Sample:
    base = sample.get("base")
    return Sample(
        prompt=str(sample.get("prompt") or ""),
        expected=str(sample.get("expected") or ""),
        base=None if base is None else str(base),
        tuned=str(sample.get("tuned") or ""),
        label=str(sample.get("skill") or str(sample.get("task") or "").replace("_", "-")),
        base_correct=sample.get("base_correct"),
        tuned_correct=sample.get("tuned_correct"),
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
