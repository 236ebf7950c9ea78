"""The loss of examples' supervised tokens, batched by length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from appliance.data.chat import IGNORED, Encoded

from .generate import Advance

LOGITS = 64_000_000
"""Most logits of one batch: 256 MB in float32."""
BATCH = 64


@torch.inference_mode()
def losses(model: PreTrainedModel, examples: Sequence[Encoded], advance: Advance | None = None) -> list[float]:
    """The summed negative log-likelihood of each example's supervised tokens, in nats, in the order given."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    found = [0.0] * len(examples)
    for indices in _batches([len(example.ids) for example in examples], vocabulary):
        sums = _batch_losses(model, [examples[index] for index in indices])
        for index, value in zip(indices, sums.tolist(), strict=True):
            found[index] = value
        if advance is not None:
            advance(len(indices))
    return found


def supervised(example: Encoded) -> int:
    """How many tokens are supervised; the first can never be, as nothing predicts it."""
    return sum(label != IGNORED for label in example.labels[1:])


def _batches(lengths: Sequence[int], vocabulary: int) -> list[list[int]]:
    """Indices of examples of like length together, longest first."""
    result: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        current = result[-1] if result else []
        columns = lengths[current[0]] if current else 0
        if not current or len(current) >= BATCH or (len(current) + 1) * columns * vocabulary > LOGITS:
            result.append([index])
        else:
            current.append(index)
    return result


def _batch_losses(model: PreTrainedModel, examples: Sequence[Encoded]) -> Tensor:
    """Summed losses, (B,), in float64 so that the order of additions does not show."""
    width = max(len(example.ids) for example in examples)
    ids = torch.tensor([example.ids + [0] * (width - len(example.ids)) for example in examples])
    labels = torch.tensor([example.labels + [IGNORED] * (width - len(example.labels)) for example in examples])
    lengths = torch.tensor([len(example.ids) for example in examples])
    mask = (torch.arange(width) < lengths[:, None]).long()
    device = model.device
    logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits[:, :-1]
    targets = labels[:, 1:].to(device)
    rows, columns = (targets != IGNORED).nonzero(as_tuple=True)
    each = functional.cross_entropy(logits[rows, columns].float(), targets[rows, columns], reduction="none")
    sums = torch.zeros(len(examples), dtype=torch.float64, device=device)
    return sums.index_add_(0, rows, each.double()).cpu()
