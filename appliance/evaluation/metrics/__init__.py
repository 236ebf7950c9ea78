"""How one answer is scored. A metric is a number for each exercise; which way is better belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score an exercise."""

    name: str
    label: str
    """What people read."""
    higher_is_better: bool
    binary: bool
    """Every score is 0 or 1, so that the exact tests for proportions apply."""
    score: Callable[[str, str], float] | None
    """``score(answer, expected)``; None when the engine measures it on the tokens."""
    is_share: bool
    """Between 0 and 1, and shown as a percentage."""

    def show(self, value: float) -> str:
        """A value for people: ``92.0 %`` for shares, four significant digits otherwise."""
        return f"{100 * value:.1f} %" if self.is_share else f"{value:.4g}"


METRICS = Registry(
    "metric",
    {
        "exact_match": Entry(
            "appliance.evaluation.metrics.exact_match:METRIC", "The answer is the expected one, but for case and spaces"
        ),
        "token_f1": Entry(
            "appliance.evaluation.metrics.token_f1:METRIC", "Words shared by the answer and the expected one"
        ),
        "nll": Entry("appliance.evaluation.metrics.nll:METRIC", "Mean negative log-likelihood of a token, in nats"),
    },
)
