"""The part of ``luthier.plan/1`` that the loop obeys, checked and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from appliance.errors import InvalidSpec
from appliance.training.schedule import Schedule

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How to train. The trainer takes these from nowhere else."""

    adapter: str
    objective: str
    base_precision: Precision
    """Of the arithmetic, and of base weights that do not change."""
    device: str
    """``cpu`` or a CUDA device."""
    micro_batch: int
    """Examples in one forward pass on one device."""
    accumulation: int
    """Forward passes in one optimizer step, on one device."""
    sequence_length: int
    """Longest example, in tokens."""
    steps: int
    learning_rate: float
    schedule: Schedule
    warmup: int
    """Steps over which the learning rate rises."""
    weight_decay: float
    clip: float
    """Largest norm of the gradient."""
    optimizer: Literal["adamw"]
    checkpointing: bool
    """Whether activations are computed again in the backward pass instead of kept."""
    packing: Literal[False]
    save_every: int
    """Steps between checkpoints."""
    validate_every: int
    """Steps between looks at the validation loss."""
    seed: int
    replay_share: float
    """Share of the examples that are replay rows."""
    whole: Mapping[str, Any] = field(repr=False)
    """All of the plan, where adapters and objectives find their options."""

    def batch(self, ranks: int) -> int:
        """Examples in one optimizer step."""
        return self.micro_batch * self.accumulation * ranks


_POSITIVE = ("micro_batch", "accumulation", "sequence_length", "steps", "save_every", "validate_every", "clip")


def read_plan(plan: Mapping[str, Any], device: str | None = None) -> TrainingPlan:
    """Check a plan. ``device`` is where the job was placed. Raises ``InvalidSpec`` with every fault."""
    values = {**plan, "device": device or next(iter(plan.get("devices") or ()), None), "whole": dict(plan)}
    hints = get_type_hints(TrainingPlan)
    faults: list[str] = []
    for item in fields(TrainingPlan):
        fault = _fault(item.name, values.get(item.name), hints[item.name])
        if fault:
            faults.append(fault)
    if faults:
        raise InvalidSpec(
            f"The plan cannot be trained: {'; '.join(faults)}.",
            hint="Make the plan again with `luthier plan`; a plan is not written by hand.",
        )
    return TrainingPlan(**{item.name: values[item.name] for item in fields(TrainingPlan)})


def _fault(name: str, value: Any, hint: Any) -> str | None:
    choices = get_args(hint)
    if name == "whole":
        return None
    if choices:
        good, expected = value in choices and type(value) is type(choices[0]), " or ".join(map(repr, choices))
    elif hint is float:
        good, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif hint is int:
        good, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        good, expected = isinstance(value, hint), {bool: "true or false"}.get(hint, "text")
    if good and name in _POSITIVE and value <= 0:
        good, expected = False, "more than 0"
    return None if good else f"{name} is {value!r}, expected {expected}"
