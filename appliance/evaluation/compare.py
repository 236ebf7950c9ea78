"""Two models on the same exercises: how far apart they are, how sure that is, and one word for it.

Every comparison is paired, because the same exercise is as hard for both models: an unpaired test of the same
scores would need several times the exercises. Exercises of one group (splits of one text, near-duplicates) are not
independent, so groups, not exercises, are what the tests and intervals draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .intervals import Interval, bootstrap_ratio, newcombe, wilson
from .metrics import Metric
from .significance import holm, mcnemar, sign_flip, smallest_p

ALPHA = 0.05
Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The scores of both models on one exercise."""

    tuned: float
    base: float | None
    """None when there is nothing to compare with."""
    group: str
    """Exercises with the same group are not independent of each other."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One task under one metric: a line of ``tasks`` in ``luthier.evaluation/1``."""

    task: str
    metric: str
    label: str
    value: float
    """Mean of the tuned model."""
    ci: Interval | None
    """95 % interval of ``value``."""
    n: int
    groups: int
    baseline: float | None = None
    """Mean of the base."""
    baseline_ci: Interval | None = None
    difference: float | None = None
    """Tuned minus base."""
    difference_ci: Interval | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    """After Holm's correction for all rows judged together."""
    test: str | None = None
    verdict: Verdict | None = None
    """None when there is no base."""
    note: str | None = None
    perplexity: float | None = None
    """exp of the loss of all tokens together, tuned model; only where likelihoods are measured."""
    baseline_perplexity: float | None = None

    def as_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def compare(task: str, label: str, metric: Metric, outcomes: Sequence[Outcome], *, seed: int = 0) -> Row:
    """Describe one task under one metric; the verdict waits for ``judge``. ``outcomes`` must not be empty."""
    tuned = [outcome.tuned for outcome in outcomes]
    groups = len({outcome.group for outcome in outcomes})
    row = Row(
        task=task,
        metric=metric.name,
        label=label,
        value=_mean(tuned),
        ci=_interval(tuned, outcomes, binary=metric.binary, seed=seed),
        n=len(outcomes),
        groups=groups,
    )
    base = [outcome.base for outcome in outcomes if outcome.base is not None]
    if len(base) != len(outcomes):
        return row
    differences = [after - before for after, before in zip(tuned, base, strict=True)]
    test, p_value = _test(differences, outcomes, binary=metric.binary, seed=seed)
    if metric.binary and groups == len(outcomes):
        difference_ci: Interval | None = newcombe(*_table(tuned, base))
    else:
        difference_ci = _interval(differences, outcomes, binary=False, seed=seed)
    return replace(
        row,
        baseline=_mean(base),
        baseline_ci=_interval(base, outcomes, binary=metric.binary, seed=seed),
        difference=_mean(differences),
        difference_ci=difference_ci,
        p_value=p_value,
        test=test,
    )


def judge(rows: Iterable[tuple[Row, Metric]]) -> list[Row]:
    """The rows with verdicts. They are one family: Holm keeps the chance of any false alarm among them below 5 %."""
    listed = list(rows)
    adjusted = iter(holm([row.p_value for row, _ in listed if row.p_value is not None]))
    family = sum(row.p_value is not None for row, _ in listed)
    return [_judged(row, metric, next(adjusted), family) if row.p_value is not None else row for row, metric in listed]


def _judged(row: Row, metric: Metric, p_adjusted: float, family: int) -> Row:
    verdict: Verdict = "no difference shown"
    if p_adjusted < ALPHA and row.difference:
        verdict = "better" if (row.difference > 0) == metric.higher_is_better else "worse"
    needed = next(count for count in range(1, 64) if smallest_p(count) * family < ALPHA)
    note = row.note
    if row.groups < needed:
        note = f"{row.groups} independent examples are too few to show any difference: at least {needed} are needed."
    return replace(row, p_adjusted=p_adjusted, verdict=verdict, note=note)


def _test(differences: Sequence[float], outcomes: Sequence[Outcome], *, binary: bool, seed: int) -> tuple[str, float]:
    """McNemar's exact test where every exercise stands alone and is right or wrong, else sign flips of group sums."""
    sums, sizes = _grouped(differences, outcomes)
    if binary and all(size == 1 for size in sizes):
        gained, lost = sum(value > 0 for value in sums), sum(value < 0 for value in sums)
        return "exact McNemar", mcnemar(gained, lost)
    return "paired permutation", sign_flip(sums, seed=seed)


def _interval(values: Sequence[float], outcomes: Sequence[Outcome], *, binary: bool, seed: int) -> Interval | None:
    sums, sizes = _grouped(values, outcomes)
    if binary and all(size == 1 for size in sizes):
        return wilson(sum(values), len(values))
    return bootstrap_ratio(sums, sizes, seed=seed)


def _grouped(values: Sequence[float], outcomes: Sequence[Outcome]) -> tuple[list[float], list[int]]:
    """Sum and size of each group, in order of first appearance."""
    sums: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for value, outcome in zip(values, outcomes, strict=True):
        sums[outcome.group] = sums.get(outcome.group, 0.0) + value
        sizes[outcome.group] = sizes.get(outcome.group, 0) + 1
    return list(sums.values()), list(sizes.values())


def _table(tuned: Sequence[float], base: Sequence[float]) -> tuple[int, int, int, int]:
    """How many both got right, only the tuned, only the base, neither."""
    counts = [0, 0, 0, 0]
    for after, before in zip(tuned, base, strict=True):
        counts[(0 if before else 1) if after else (2 if before else 3)] += 1
    return counts[0], counts[1], counts[2], counts[3]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
