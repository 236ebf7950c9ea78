"""The micro-batches of a step, as this rank computes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from appliance.training.examples import Examples, Items
from appliance.training.order import Order, cut, split
from appliance.training.plan import TrainingPlan
from appliance.training.seams import Batch, Objective

# What a forward and backward pass costs before its first token, in tokens: measured with the starter on one core.
_PASS_TOKENS = 48


@dataclass(frozen=True)
class StepBatches:
    """What one optimizer step learns."""

    batches: list[Batch]
    """This rank's micro-batches, on the CPU."""
    terms: int
    """Terms of the loss in the whole step, over all ranks."""
    tokens: int
    """Tokens in the whole step, over all ranks, padding not counted."""


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Makes the batches of any step, in any order; it keeps no place."""

    plan: TrainingPlan
    examples: Examples
    objective: Objective
    rank: int = 0
    ranks: int = 1
    pool: Items = field(init=False)
    """The training examples, and after them the replay rows."""
    order: Order = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pool", self.examples.train + self.examples.replay)
        order = Order(
            examples=len(self.examples.train),
            replay=len(self.examples.replay),
            batch=self.plan.batch(self.ranks),
            share=self.plan.replay_share,
            seed=self.plan.seed,
        )
        object.__setattr__(self, "order", order)

    def step(self, number: int) -> StepBatches:
        """The batches of a step, counted from 1."""
        picks = self.order.picks(number)
        micro = list(cut(picks, self.pool.lengths, self.plan.micro_batch))
        return StepBatches(
            [self._collate(self.pool, piece) for piece in self._pieces(micro, self.pool)],
            sum(self.pool.counts[index] for index in picks),
            sum(self.pool.lengths[index] for index in picks),
        )

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the validation examples, like lengths together."""
        held_out = self.examples.validation
        micro = list(cut(range(len(held_out)), held_out.lengths, self.plan.micro_batch))
        return (self._collate(held_out, piece) for piece in self._pieces(micro, held_out))

    def _pieces(self, micro: list[list[int]], source: Items) -> Iterator[list[int]]:
        """This rank's micro-batches; on a CPU, which gains nothing from wide ones, cut again to save padding."""
        for picked in micro[self.rank :: self.ranks]:
            if self.plan.device == "cpu":
                yield from split(picked, source.lengths, _PASS_TOKENS)
            else:
                yield picked

    def _collate(self, source: Items, picked: list[int]) -> Batch:
        return self.objective.collate([source.items[index] for index in picked], self.examples.pad_id)


def learning_parts(batches: list[Batch], device: Any) -> Iterator[tuple[Batch, bool]]:
    """Each micro-batch on the device, and whether it is the step's last."""
    last = len(batches) - 1
    return ((batch.to(device), number == last) for number, batch in enumerate(batches))
