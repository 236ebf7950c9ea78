"""The learning rate of a step, as a pure function: no state to save, none to restore wrongly."""

from __future__ import annotations

import math
from typing import Literal

SCHEDULES = ("cosine", "linear", "constant")
Schedule = Literal["cosine", "linear", "constant"]


def rate_factor(schedule: Schedule, step: int, *, steps: int, warmup: int) -> float:
    """What the highest learning rate is multiplied by at ``step``, counted from 1.

    It rises linearly over ``warmup`` steps, then falls to zero after the last step: along half a cosine, along
    a line, or not at all.

    >>> [round(rate_factor("linear", step, steps=6, warmup=2), 2) for step in range(1, 7)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step <= warmup:
        return step / warmup
    if schedule == "constant":
        return 1.0
    done = (step - 1 - warmup) / max(1, steps - warmup)
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
