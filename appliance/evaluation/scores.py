"""From what both models answered to ``luthier.evaluation/1``: rows with verdicts, retention, gate and samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any

from .compare import Outcome, Row, compare, judge
from .exercise import Exercise, Passage
from .gate import gate
from .metrics import METRICS, Metric
from .retention import by_replay, by_skill, unmeasured
from .tasks import TASKS, Role, Task

SAMPLES = 20
NO_RETENTION = "there is no file of exercises (evaluation.retention) and no replay data to measure it on."


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An exercise with the answers of both models."""

    exercise: Exercise
    tuned: str
    base: str | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A passage with its summed loss under both models, in nats."""

    passage: Passage
    tokens: int
    """Supervised tokens."""
    tuned: float
    base: float | None


Results = dict[str, Sequence[Answered] | Sequence[Measured]]
"""By task name; a task without items is absent."""


def evaluation(model: str, against: str | None, results: Results, *, seed: int = 0) -> dict[str, Any]:
    """The ``luthier.evaluation/1`` of the results."""
    rows = judge(_rows(results, seed))
    retention = _retention(results, against, seed)
    return {
        "schema": "luthier.evaluation/1",
        "model": model,
        "against": against,
        "tasks": [row.as_dict() for row in rows],
        "retention": retention,
        "gate": gate(rows, retention),
        "seed": seed,
    }


def samples(results: Results) -> list[dict[str, Any]]:
    """At most twenty answers of both models, spread evenly over each task: held-out ones first."""
    chosen: list[dict[str, Any]] = []
    answered = {name: items for name, items in results.items() if TASKS.load(name).exercises is not None}
    for index, (name, items) in enumerate(answered.items()):
        left = SAMPLES - len(chosen)
        # Three quarters for the first task when another follows it.
        count = left * 3 // 4 if index + 1 < len(answered) else left
        chosen += [_sample(name, item) for item in _spread(items, count) if isinstance(item, Answered)]
    return chosen


def answer_lines(results: Results) -> list[dict[str, Any]]:
    """Every answer of both models, for whoever wants to read more than the samples."""
    return [_sample(name, item) for name, items in results.items() for item in items if isinstance(item, Answered)]


def _sample(task: str, item: Answered) -> dict[str, Any]:
    exact: Metric = METRICS.load("exact_match")
    assert exact.score is not None
    expected = item.exercise.expected
    return {
        "task": task,
        "skill": item.exercise.skill,
        "prompt": item.exercise.prompt_text(),
        "expected": expected,
        "base": item.base,
        "tuned": item.tuned,
        "base_correct": None if item.base is None else bool(exact.score(item.base, expected)),
        "tuned_correct": bool(exact.score(item.tuned, expected)),
    }


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _rows(results: Results, seed: int) -> list[tuple[Row, Metric]]:
    rows = []
    for name, items in results.items():
        task: Task = TASKS.load(name)
        if task.role is not Role.PROOF:
            continue
        for metric in (METRICS.load(metric) for metric in task.metrics):
            row = compare(name, f"{task.label} {metric.label}", metric, outcomes(items, metric), seed=seed)
            rows.append((_with_perplexity(row, items), metric))
    return rows


def outcomes(items: Sequence[Answered] | Sequence[Measured], metric: Metric) -> list[Outcome]:
    """The score of both models on each item."""
    return [_measured(item) if isinstance(item, Measured) else _answered(item, metric) for item in items]


def _answered(item: Answered, metric: Metric) -> Outcome:
    assert metric.score is not None
    expected = item.exercise.expected
    base = None if item.base is None else metric.score(item.base, expected)
    return Outcome(tuned=metric.score(item.tuned, expected), base=base, group=item.exercise.group)


def _measured(item: Measured) -> Outcome:
    base = None if item.base is None else item.base / item.tokens
    return Outcome(tuned=item.tuned / item.tokens, base=base, group=item.passage.group)


def _with_perplexity(row: Row, items: Sequence[Answered] | Sequence[Measured]) -> Row:
    measured = [item for item in items if isinstance(item, Measured)]
    if not measured:
        return row
    tokens = sum(item.tokens for item in measured)
    bases = [item.base for item in measured if item.base is not None]
    return replace(
        row,
        perplexity=_perplexity(sum(item.tuned for item in measured), tokens),
        baseline_perplexity=_perplexity(sum(bases), tokens) if len(bases) == len(measured) else None,
    )


def _perplexity(nats: float, tokens: int) -> float:
    # A loss above 700 nats a token is beyond what a float can hold the exponential of.
    return exp(min(700.0, nats / tokens))


def _retention(results: Results, against: str | None, seed: int) -> dict[str, Any]:
    if against is None:
        return unmeasured("there is no base to compare it with.")
    exact: Metric = METRICS.load("exact_match")
    exercises = [item for item in results.get("retention", ()) if isinstance(item, Answered)]
    if exercises:
        skills: dict[str, list[Outcome]] = {}
        for item in exercises:
            skills.setdefault(str(item.exercise.skill), []).append(_answered(item, exact))
        return by_skill(skills, seed=seed)
    replay = [item for item in results.get("replay_loss", ()) if isinstance(item, Measured)]
    if replay:
        return by_replay([_measured(item) for item in replay], seed=seed)
    return unmeasured(NO_RETENTION)
