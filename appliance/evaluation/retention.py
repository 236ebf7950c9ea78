"""What the base could do and the tuned model still can: per skill on exercises, or as likelihood on replayed text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from .compare import Outcome
from .intervals import Interval, bootstrap_ratio

KEPT = 0.9
"""Share of a skill's score that must remain."""
CAN_DO = 0.2
"""A skill whose base score is below this is not one the base has."""
ONE_SIDED = 0.9
"""The lower end of a 90 % interval is a one-sided bound at 95 %."""

SKILLS_RULE = (
    f"Every skill the base has (a score of {100 * CAN_DO:.0f} % or more) keeps at least {100 * KEPT:.0f} % of its "
    f"score, one exercise aside, and all of them together keep at least {100 * KEPT:.0f} % at the lower end of a "
    "one-sided 95 % interval."
)
REPLAY_RULE = (
    f"On the replayed examples the tuned model's probability of a token, as a geometric mean, is at least "
    f"{100 * KEPT:.0f} % of the base's at the lower end of a one-sided 95 % interval."
)


def by_skill(outcomes: Mapping[str, Sequence[Outcome]], *, seed: int = 0) -> dict[str, Any]:
    """Judge retention from exact matches, by skill. Every outcome must have a base score."""
    skills = {name: _skill(outcomes[name]) for name in sorted(outcomes)}
    counted = [name for name, skill in skills.items() if skill["base"] >= CAN_DO]
    body = {"measure": "exact_match", "rule": SKILLS_RULE, "skills": skills}
    if not counted:
        reason = f"the base scores {100 * CAN_DO:.0f} % or more on none of the skills ({', '.join(skills)})."
        return {"passed": None, "reason": reason, **body, "overall": None}
    overall = _overall([outcome for name in counted for outcome in outcomes[name]], seed)
    forgotten = [name for name in counted if not skills[name]["passed"]]
    passed = not forgotten and (overall["kept_low"] is None or overall["kept_low"] >= KEPT)
    return {"passed": passed, "reason": _why(forgotten, overall, passed), **body, "overall": overall}


def by_replay(outcomes: Sequence[Outcome], *, seed: int = 0) -> dict[str, Any]:
    """Judge retention from the mean loss (nats a token) of both models on replayed examples."""
    base = _mean([outcome.base or 0.0 for outcome in outcomes])
    tuned = _mean([outcome.tuned for outcome in outcomes])
    interval = _difference(outcomes, seed)
    low = None if interval is None else exp(-interval[1])
    overall = {"base": base, "tuned": tuned, "kept": exp(base - tuned), "kept_low": low, "n": len(outcomes)}
    passed = (exp(base - tuned) if low is None else low) >= KEPT
    reason = (
        "Measured as the loss on replayed examples, which were also trained on: without exercises for its skills "
        "this shows forgetting, but not its absence."
    )
    return {"passed": passed, "reason": reason, "measure": "nll", "rule": REPLAY_RULE, "skills": {}, "overall": overall}


def unmeasured(reason: str) -> dict[str, Any]:
    """Retention of which nothing is known, and why."""
    return {"passed": None, "reason": reason, "measure": None, "rule": None, "skills": {}, "overall": None}


def _skill(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    base, tuned = sum(outcome.base or 0.0 for outcome in outcomes), sum(outcome.tuned for outcome in outcomes)
    n = len(outcomes)
    # One exercise more or less is not forgetting, whatever share of a short list it is.
    kept = tuned >= KEPT * base - 1e-9 or base - tuned <= 1
    return {
        "base": base / n,
        "tuned": tuned / n,
        "kept": tuned / base if base else None,
        "n": n,
        "passed": kept if base / n >= CAN_DO else None,
    }


def _overall(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    bases, tuned = [outcome.base or 0.0 for outcome in outcomes], [outcome.tuned for outcome in outcomes]
    interval = bootstrap_ratio(tuned, bases, seed=seed, confidence=ONE_SIDED)
    return {
        "base": _mean(bases),
        "tuned": _mean(tuned),
        "kept": sum(tuned) / sum(bases),
        "kept_low": interval[0] if interval else None,
        "n": len(outcomes),
    }


def _difference(outcomes: Sequence[Outcome], seed: int) -> Interval | None:
    sums: dict[str, float] = defaultdict(float)
    sizes: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        sums[outcome.group] += outcome.tuned - (outcome.base or 0.0)
        sizes[outcome.group] += 1
    return bootstrap_ratio(list(sums.values()), list(sizes.values()), seed=seed, confidence=ONE_SIDED)


def _why(forgotten: Sequence[str], overall: dict[str, Any], passed: bool) -> str | None:
    if passed:
        return None
    if forgotten:
        return f"Below {100 * KEPT:.0f} %: {', '.join(forgotten)}."
    return f"All skills together are only shown to keep {100 * overall['kept_low']:.1f} %."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
