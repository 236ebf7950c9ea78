"""Exact match of a model's greedy answers with the expected ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from .batches import encode_row
from .vocabulary import ASSISTANT, END, PAD, token_id

LONGEST_ANSWER = 80


def answers(model: Any, tokenizer: Tokenizer, questions: Sequence[str], batch: int = 36) -> list[str]:
    """The greedy answer to each question, one turn and no system message."""
    said: list[str] = []
    for start in range(0, len(questions), batch):
        said += _answer_batch(model, tokenizer, questions[start : start + batch])
    return said


def _answer_batch(model: Any, tokenizer: Tokenizer, questions: Sequence[str]) -> list[str]:
    pad, end, assistant = (token_id(tokenizer, each) for each in (PAD, END, ASSISTANT))
    prompts = [[*encode_row(tokenizer, [{"role": "user", "content": q}]).ids, assistant] for q in questions]
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=LONGEST_ANSWER, do_sample=False,
            pad_token_id=pad, eos_token_id=end, use_cache=True,
        )  # fmt: skip
    return [_until_end(tokenizer, row[width:].tolist(), end) for row in out]


def _until_end(tokenizer: Tokenizer, ids: list[int], end: int) -> str:
    """The text before the end token; an answer that never ends is marked so, and so is never a match."""
    if end not in ids:
        return tokenizer.decode(ids) + " (no end)"
    return tokenizer.decode(ids[: ids.index(end)])


def exact_match(model: Any, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> float:
    """Share of (question, expected) pairs answered exactly, 0 to 1."""
    said = answers(model, tokenizer, [question for question, _ in pairs])
    return sum(a == expected for a, (_, expected) in zip(said, pairs, strict=True)) / len(pairs)
