"""Greedy answers, many at a time, equal to what ``transformers``' ``generate`` gives one at a time.

Prompts are sorted by length and padded on the left, so that every row's next token stands in the last column; a
key-value cache makes each further token one column. Rows that ended leave the batch once they are half of it: a model
that stops early is not made to wait for one that rambles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

BATCH = 64
"""Most prompts answered together."""
CACHE_TOKENS = 32_768
"""Most tokens of all prompts of a batch, answers included, that the cache is asked to hold."""

Advance = Callable[[int], None]
"""Told after each batch how many items it had; may raise to stop."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How answers are made."""

    stop: Collection[int]
    """Token ids that end an answer; they are not part of it."""
    pad: int
    max_new_tokens: int
    positions: int | None
    """Most tokens of prompt and answer together that the model can see."""
    batch: int = BATCH

    def room(self, prompt: Sequence[int]) -> int:
        """How many tokens the answer to ``prompt`` may have."""
        if self.positions is None:
            return self.max_new_tokens
        return max(0, min(self.max_new_tokens, self.positions - len(prompt)))


@torch.inference_mode()
def answers(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], how: Decoding, advance: Advance | None = None
) -> list[list[int]]:
    """The greedy continuation of each prompt (token ids), up to a stop token, in the order given.

    A prompt that leaves no room for an answer gets an empty one.
    """
    found: list[list[int]] = [[] for _ in prompts]
    for indices in batches([len(prompt) for prompt in prompts], how):
        for index, answer in zip(indices, _Batch(model, [prompts[i] for i in indices], how).run(), strict=True):
            found[index] = answer
        if advance is not None:
            advance(len(indices))
    return found


def batches(lengths: Sequence[int], how: Decoding) -> list[list[int]]:
    """Indices of prompts of like length together, longest first, so that what does not fit shows at once."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    result: list[list[int]] = []
    for index in order:
        current = result[-1] if result else []
        width = (lengths[current[0]] if current else 0) + how.max_new_tokens
        if not current or len(current) >= how.batch or (len(current) + 1) * width > CACHE_TOKENS:
            result.append([index])
        else:
            current.append(index)
    return result


class _Batch:
    """Prompts on their way to answers. Shapes: ``B`` rows still alive, ``T`` columns so far."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], how: Decoding) -> None:
        self._model = model
        self._how = how
        self._rooms = [how.room(prompt) for prompt in prompts]
        self._answers: list[list[int]] = [[] for _ in prompts]
        self._alive = list(range(len(prompts)))
        self._done = [room == 0 for room in self._rooms]
        self._cache = DynamicCache(config=model.config)
        self._ids, self._mask = pad_left(prompts, how.pad, model.device)

    def run(self) -> list[list[int]]:
        """The answers, in the order of the prompts."""
        fresh = self._ids
        # Padded columns are hidden by the mask; their position only has to exist.
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
        while not all(self._done):
            tokens = self._next(fresh, positions)
            self._take(tokens.tolist())
            tokens = self._drop_ended(tokens)
            positions = self._mask.sum(dim=1, keepdim=True)
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
            fresh = tokens[:, None]
        return self._answers

    def _next(self, fresh: Tensor, positions: Tensor) -> Tensor:
        """The most likely next token of each row, (B,). ``fresh`` (B, columns not in the cache yet)."""
        output = self._model(
            input_ids=fresh,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        best: Tensor = output.logits[:, -1].argmax(dim=-1)
        return best

    def _take(self, tokens: Sequence[int]) -> None:
        """Append each live row's token to its answer, or end the row."""
        for row, token in zip(self._alive, tokens, strict=True):
            if self._done[row]:
                continue
            if token in self._how.stop:
                self._done[row] = True
                continue
            self._answers[row].append(token)
            self._done[row] = len(self._answers[row]) >= self._rooms[row]

    def _drop_ended(self, tokens: Tensor) -> Tensor:
        """Shrink the batch to its live rows when at least half have ended. Returns the tokens of those that stay."""
        staying = [index for index, row in enumerate(self._alive) if not self._done[row]]
        if not staying or 2 * len(staying) > len(self._alive):
            return tokens
        kept = torch.tensor(staying, device=tokens.device)
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept]
        self._alive = [self._alive[index] for index in staying]
        return tokens[kept]


def pad_left(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both (B, T), with the padding in front."""
    width = max(len(prompt) for prompt in prompts)
    ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
