"""Replay loss: how likely the replayed examples still are, where there are no exercises for the base's skills."""

from __future__ import annotations

from appliance.data.example import read_examples
from appliance.evaluation.exercise import Passage, Sources, group_of, taken

from . import Role, Task


def passages(sources: Sources) -> list[Passage]:
    """The replay rows of the dataset, unless a file of exercises measures retention better."""
    file = sources.split("replay")
    if file is None or sources.retention is not None:
        return []
    found = [Passage(example=example, group=group_of(example)) for example in read_examples(file)]
    return taken(found, sources.limit)


TASK = Task(name="replay_loss", label="replay", role=Role.RETENTION, metrics=("nll",), passages=passages)
