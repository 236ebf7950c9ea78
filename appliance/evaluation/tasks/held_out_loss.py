"""Held-out loss: how likely the supervised tokens of each test example are."""

from __future__ import annotations

from appliance.data.example import read_examples
from appliance.evaluation.exercise import Passage, Sources, group_of, taken

from . import Role, Task

PER_ANSWER = 5
"""A loss costs one pass where an answer costs one a token, so more examples can be afforded."""


def passages(sources: Sources) -> list[Passage]:
    """The test examples, at most five times as many as are answered."""
    file = sources.split("test")
    if file is None:
        return []
    found = [Passage(example=example, group=group_of(example)) for example in read_examples(file)]
    return taken(found, PER_ANSWER * sources.limit)


TASK = Task(name="held_out_loss", label="held-out", role=Role.PROOF, metrics=("nll",), passages=passages)
