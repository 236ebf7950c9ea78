"""The two seams of the training loop: what an adapter and an objective must offer.

A part is a frozen dataclass whose fields are options, named as the plan names them. Torch is imported inside its
methods, so that a client can list parts and their options without it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from appliance.data.chat import ChatTemplate, Tokenizer
    from appliance.data.example import Example

Part = TypeVar("Part")


@dataclass(frozen=True)
class Item:
    """One example as tokens, held compactly."""

    ids: array[int]
    labels: array[int]
    """As long as ``ids``; -100 where nothing is learnt."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch as tensors."""

    ids: Tensor
    """(rows, length) token ids, padded on the right; under causal attention padding changes no other token."""
    positions: Tensor
    """(learnt,) places in ``ids.flatten()`` whose next token is learnt."""
    targets: Tensor
    """(learnt,) the tokens to predict there."""

    def to(self, device: Any) -> Batch:
        """The batch on a device."""
        moved = (tensor.to(device, non_blocking=True) for tensor in (self.ids, self.positions, self.targets))
        return Batch(*moved)


class Adapter(Protocol):
    """How weights change."""

    kind: ClassVar[Literal["adapter", "full"]]
    """What ``save`` writes: a delta beside a base model, or a whole model."""
    trains_base: ClassVar[bool]
    """Whether the base model's own weights change, and so must be held in full precision."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with exactly the weights that change requiring a gradient."""
        ...

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write what was trained into an empty folder, as safetensors and JSON."""
        ...


class Objective(Protocol):
    """What is minimised."""

    def encode(self, example: Example, tokenizer: Tokenizer, template: ChatTemplate) -> Item:
        """An example as token ids with the learnt ones labelled."""
        ...

    def count(self, item: Item) -> int:
        """How many terms the item adds to the sum that ``loss`` returns; 0 when there is nothing to learn."""
        ...

    def collate(self, items: Sequence[Item], pad_id: int) -> Batch:
        """Items of one micro-batch as tensors on the CPU."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The sum of the loss over the batch's terms, not their mean.

        The loop divides by the number of terms in the whole optimizer step, so that the result does not depend
        on how a step is cut into micro-batches or ranks.
        """
        ...


def from_plan(part: type[Part], plan: Mapping[str, Any]) -> Part:
    """A part with the options that the plan names; what the plan leaves None keeps its default."""
    names = [f.name for f in fields(part)]  # type: ignore[arg-type]
    return part(**{name: plan[name] for name in names if plan.get(name) is not None})
