"""Retention: exercises for the skills of the base model, from the file the spec names."""

from __future__ import annotations

from appliance.evaluation.exercise import Exercise, Sources, read_exercises

from . import Role, Task


def exercises(sources: Sources) -> list[Exercise]:
    """Every exercise of the file; none when there is no file."""
    return read_exercises(sources.retention) if sources.retention else []


TASK = Task(name="retention", label="retention", role=Role.RETENTION, metrics=("exact_match",), exercises=exercises)
