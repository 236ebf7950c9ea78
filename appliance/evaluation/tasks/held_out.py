"""Held-out answers: the last answer of each test example is wanted, the turns before it are the prompt."""

from __future__ import annotations

from appliance.data.example import read_examples
from appliance.evaluation.exercise import Exercise, Sources, group_of, taken

from . import Role, Task


def exercises(sources: Sources) -> list[Exercise]:
    """One exercise for each test example whose last answer is text; calls of tools are left to the loss."""
    file = sources.split("test")
    if file is None:
        return []
    found = []
    for example in read_examples(file):
        prompt, answer = example.split_answer()
        if answer is None or not answer.content.strip() or not prompt:
            continue
        found.append(Exercise(prompt=prompt, expected=answer.content, group=group_of(example), tools=example.tools))
    return taken(found, sources.limit)


TASK = Task(
    name="held_out",
    label="held-out",
    role=Role.PROOF,
    metrics=("exact_match", "token_f1"),
    exercises=exercises,
)
