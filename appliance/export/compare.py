"""How far an artifact's answers are from the trained model's. Pure arithmetic on what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance.export.formats import Format
from appliance.export.reference import Passage, Probe

TIE = 1e-3
"""Two tokens whose probabilities differ by less may change places in a float format."""
_LEAST = 1e-12


@dataclass(frozen=True)
class Served:
    """What an artifact expected at each place of a passage, as it came over HTTP."""

    logprobs: tuple[float, ...]
    """Of ``ids[1:]``."""
    top: tuple[Mapping[int, float], ...]
    """The likeliest tokens at those places, best first."""


@dataclass
class Tally:
    """Sums over passages and probes."""

    compared: int = 0
    equal: int = 0
    excused: int = 0
    divergences: list[float] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    """Log-probabilities of the trained model."""
    found: list[float] = field(default_factory=list)
    """Log-probabilities of the artifact."""
    faults: list[str] = field(default_factory=list)
    """What is wrong beyond any bound, in sentences."""

    @property
    def kl(self) -> float | None:
        """Mean divergence in nats a token."""
        return sum(self.divergences) / len(self.divergences) if self.divergences else None

    @property
    def perplexity_ratio(self) -> float | None:
        """Perplexity of the artifact by that of the trained model."""
        if not self.expected:
            return None
        difference = (sum(self.expected) - sum(self.found)) / len(self.expected)
        return math.exp(min(difference, 50.0))

    def add_passage(self, passage: Passage, served: Served) -> None:
        """Compare what both expected at every place."""
        pairs = zip(passage.top, served.top, strict=True)
        self.divergences += [divergence(top, found) for top, found in pairs]
        self.expected += passage.logprobs
        self.found += served.logprobs

    def add_greedy(self, probe: Probe, served: Served) -> None:
        """Compare the likeliest token at each place of an answer, given the answer so far."""
        start = len(probe.prompt)
        for index, (token, margin) in enumerate(zip(probe.passage.ids[start:], probe.margins, strict=True)):
            self.compared += 1
            if next(iter(served.top[start - 1 + index])) == token:
                self.equal += 1
            elif margin < TIE:
                self.excused += 1


def divergence(reference: Sequence[tuple[int, float]], found: Mapping[int, float]) -> float:
    """Kullback-Leibler divergence in nats, from below: tokens neither lists are counted as one.

    A token that only the reference lists can have at most the probability of the least likely one found. Merging
    outcomes and raising the second distribution's probabilities can only lower the divergence, so a bound that
    this value breaks is broken by the true one too.
    """
    least = min(found.values(), default=0.0)
    total = p_rest = q_rest = 0.0
    p_rest, q_rest = 1.0, 1.0
    for token, logprob in reference:
        p = math.exp(logprob)
        total += p * (logprob - found.get(token, least))
        p_rest -= p
        q_rest -= math.exp(found[token]) if token in found else 0.0
    if p_rest > 1e-6:
        total += p_rest * math.log(p_rest / max(q_rest, _LEAST))
    return max(total, 0.0)


def verdict(format_: Format, tally: Tally) -> tuple[bool, list[str]]:
    """Whether the artifact passes, and why, in plain words."""
    lines = list(tally.faults)
    wrong = tally.compared - tally.equal - tally.excused
    told = f"{tally.equal} of {tally.compared} greedy tokens equal the trained model's"
    if tally.excused:
        told += f", {tally.excused} more where it was undecided itself (margin below {TIE:g})"
    passed = not tally.faults
    if format_.exact:
        passed = passed and wrong == 0 and tally.compared > 0
        told += "." if wrong == 0 else f"; {wrong} differ, and a {format_.precision} file may not."
    else:
        told += "; a rounded format need not keep all."
    lines.append(told)
    for name, value, bound, good in (
        ("Mean divergence", tally.kl, format_.divergence, _below(tally.kl, format_.divergence)),
        ("Perplexity ratio", tally.perplexity_ratio, format_.perplexity, _near(tally.perplexity_ratio, format_)),
    ):
        shown = "unknown" if value is None else f"{value:.4g}"
        lines.append(f"{name} {shown}, allowed {bound:g}." + ("" if good else " Too far."))
        passed = passed and good
    return passed, lines


def _below(value: float | None, bound: float) -> bool:
    return value is not None and value <= bound


def _near(ratio: float | None, format_: Format) -> bool:
    return ratio is not None and 1 / format_.perplexity <= ratio <= format_.perplexity
