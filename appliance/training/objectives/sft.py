"""Supervised fine-tuning: the cross-entropy of the next token, over the answers only."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.training.seams import Batch, Item

if TYPE_CHECKING:
    from torch import Tensor, nn

    from appliance.data.chat import ChatTemplate, Tokenizer
    from appliance.data.example import Example

_IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Learns what an assistant says and the token that ends it; of a plain text, everything."""

    def encode(self, example: Example, tokenizer: Tokenizer, template: ChatTemplate) -> Item:
        """Ids and labels as every room makes them. Raises ``TemplateRefused`` and ``InvalidBaseModel``."""
        from appliance.data.chat import encode_example

        encoded = encode_example(example, tokenizer, template)
        return Item(array("i", encoded.ids), array("i", encoded.labels))

    def count(self, item: Item) -> int:
        """The learnt tokens; the first token of a row is never predicted."""
        return sum(label != _IGNORED for label in item.labels[1:])

    def collate(self, items: Sequence[Item], pad_id: int) -> Batch:
        """Rows padded on the right to the longest, and the places in them whose next token is learnt."""
        import torch

        length = max(len(item.ids) for item in items)
        ids = torch.full((len(items), length), pad_id, dtype=torch.long)
        labels = torch.full((len(items), length), _IGNORED, dtype=torch.long)
        for row, item in enumerate(items):
            ids[row, : len(item.ids)] = torch.frombuffer(item.ids, dtype=torch.int32)
            labels[row, : len(item.ids)] = torch.frombuffer(item.labels, dtype=torch.int32)
        following = labels[:, 1:]
        learnt = following != _IGNORED
        rows, places = learnt.nonzero(as_tuple=True)
        return Batch(ids, rows * length + places, following[learnt])

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Sum of -log p(token | what precedes it) over the learnt tokens, in fp32."""
        from torch.nn.functional import cross_entropy

        logits = network(batch.ids, batch.positions)
        return cross_entropy(logits.float(), batch.targets, reduction="sum")
