"""May this model take the name that clients use? Rules over the scores, each answered with a sentence in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .compare import Row
from .metrics import METRICS, Metric

RULE = "Better on at least one held-out task, worse on none, and nothing forgotten."


def gate(rows: Sequence[Row], retention: Mapping[str, Any]) -> dict[str, Any]:
    """``{"passed", "rule", "lines"}``: passed when the model is better somewhere, worse nowhere, and forgot nothing.

    Retention that could not be measured does not refuse, but says so.
    """
    lines = [_row_line(row) for row in rows] or ["No held-out example could be measured, so nothing is proven."]
    lines += _retention_lines(retention)
    verdicts = [row.verdict for row in rows]
    better, worse = "better" in verdicts, "worse" in verdicts
    passed = better and not worse and retention.get("passed") is not False
    lines.append(_summary(passed, better=better, worse=worse, compared=any(verdicts)))
    return {"passed": passed, "rule": RULE, "lines": lines}


def p_text(p_value: float) -> str:
    """A p-value for people.

    >>> p_text(0.00002), p_text(0.0371)
    ('p < 0.0001', 'p = 0.037')
    """
    if p_value < 0.0001:
        return "p < 0.0001"
    return f"p = {p_value:.4f}" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def _row_line(row: Row) -> str:
    metric: Metric = METRICS.load(row.metric)
    name = f"{row.label[:1].upper()}{row.label[1:]}"
    if row.baseline is None or row.p_adjusted is None:
        return f"{name} {metric.show(row.value)} on {row.n} examples; there is no base to compare it with."
    line = (
        f"{name} {metric.show(row.value)} against {metric.show(row.baseline)} of the base "
        f"on {row.n} examples, {p_text(row.p_adjusted)}: {row.verdict}."
    )
    return f"{line} {row.note}" if row.note else line


def _retention_lines(retention: Mapping[str, Any]) -> list[str]:
    passed, overall, reason = retention.get("passed"), retention.get("overall"), retention.get("reason")
    if passed is None or overall is None:
        return [f"Retention is not judged: {reason or 'it was not measured.'}"]
    low = overall["kept_low"]
    bound = "" if low is None else f" (at least {100 * low:.1f} % with 95 % confidence)"
    if retention.get("measure") == "nll":
        figures = f"loss on {overall['n']} replayed examples {overall['tuned']:.4g} against {overall['base']:.4g}"
        kept = f"Retention: {figures} of the base, {100 * overall['kept']:.1f} % of the probability kept{bound}"
    else:
        counted = sum(skill["passed"] is not None for skill in retention["skills"].values())
        skills = "1 skill" if counted == 1 else f"{counted} skills"
        kept = f"Retention: {100 * overall['kept']:.1f} % of the base's score on {skills} kept{bound}"
    return [f"{kept}: {'passed' if passed else 'not passed'}.{f' {reason}' if reason else ''}"]


def _summary(passed: bool, *, better: bool, worse: bool, compared: bool) -> str:
    if passed:
        return "The gate is passed: the model is better, worse at nothing measured, and forgot nothing measured."
    if not compared:
        why = "nothing was compared with the base"
    elif worse:
        why = "the model is worse than its base at something"
    elif not better:
        why = "the model is not shown to be better than its base at anything"
    else:
        why = "the model forgot what its base could do"
    return f"The gate is not passed: {why}. The model stays a candidate and can be used under its own name."
