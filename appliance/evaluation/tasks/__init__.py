"""What is measured. A task names its metrics and reads its items; models are run by ``engine/``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from appliance.evaluation.exercise import Exercise, Passage, Sources
from appliance.registry import Entry, Registry


class Role(StrEnum):
    """What a task's scores are for."""

    PROOF = "proof"
    """Is the tuned model better at what it was tuned for?"""
    RETENTION = "retention"
    """Can it still do what its base could?"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something measured on both models, item by item."""

    name: str
    label: str
    """Begins the name people read: ``held-out`` + ``exact match``."""
    role: Role
    metrics: tuple[str, ...]
    exercises: Callable[[Sources], list[Exercise]] | None = None
    """Reads what both models answer."""
    passages: Callable[[Sources], list[Passage]] | None = None
    """Reads what both models are given to predict."""


TASKS = Registry(
    "task",
    {
        "held_out": Entry("appliance.evaluation.tasks.held_out:TASK", "Answers to the test split"),
        "held_out_loss": Entry("appliance.evaluation.tasks.held_out_loss:TASK", "Likelihood of the test split"),
        "retention": Entry("appliance.evaluation.tasks.retention:TASK", "Skills of the base, exercise by exercise"),
        "replay_loss": Entry(
            "appliance.evaluation.tasks.replay_loss:TASK",
            "Likelihood of replayed examples, without exercises",
        ),
    },
)
