"""Paired tests, in pure Python: may a difference be believed, or would chance have made it as well?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import comb
from random import Random

EXHAUSTIVE_GROUPS = 14
"""Up to so many groups every assignment of signs is enumerated (16,384), and the test is exact."""
DRAWS = 20_000
"""Assignments drawn otherwise: the smallest p-value is 1 / (DRAWS + 1)."""


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of the exact McNemar test: ``gained`` items only the second got right, ``lost`` only the first.

    Under the hypothesis of no difference each of them is a fair coin: twice the binomial tail, at most 1
    (McNemar 1947; exact form as in scipy.stats.binomtest(gained, gained + lost)).

    >>> mcnemar(6, 0)
    0.03125
    """
    discordant = gained + lost
    tail = sum(comb(discordant, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / float(2**discordant))


def sign_flip(differences: Sequence[float], *, seed: int = 0, draws: int = DRAWS) -> float:
    """Two-sided p-value that the sum of paired differences is not zero, by flipping their signs.

    If both models were alike, each difference could as well have had the other sign (Fisher 1935). Few differences
    are enumerated; of many, ``draws`` seeded assignments are taken and the observed one is counted among them
    (Phipson and Smyth 2010), so that the p-value is never 0 and the test is never too bold.
    """
    moved = [value for value in differences if value != 0.0]
    if not moved:
        return 1.0
    # A tie with the observed sum must count even if another order of additions rounded it differently.
    bar = abs(sum(moved)) - 1e-9 * sum(map(abs, moved))
    if len(moved) <= EXHAUSTIVE_GROUPS:
        hits = sum(abs(sum(signed)) >= bar for signed in product(*((value, -value) for value in moved)))
        return hits / float(2 ** len(moved))
    return (1 + _hits(moved, bar, Random(seed), draws)) / (1 + draws)


def _hits(moved: Sequence[float], bar: float, random: Random, draws: int) -> int:
    """How many of ``draws`` random assignments of signs reach ``bar``; eight differences are one table look-up."""
    tables = [_signed_sums(moved[start : start + 8]) for start in range(0, len(moved), 8)]
    hits = 0
    for _ in range(draws):
        choice = random.randbytes(len(tables))
        total = sum(table[byte] for table, byte in zip(tables, choice, strict=True))
        hits += abs(total) >= bar
    return hits


def _signed_sums(values: Sequence[float]) -> list[float]:
    """For each byte, the sum of up to eight values with the signs its bits say."""
    return [sum(value if byte >> bit & 1 else -value for bit, value in enumerate(values)) for byte in range(256)]


def smallest_p(groups: int) -> float:
    """The smallest two-sided p-value that ``groups`` pairs can give in these tests."""
    return min(1.0, 2 / float(2**groups))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: the chance of even one false alarm among them all stays below alpha.

    Step-down procedure of Holm (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
