"""Choices as the protocol writes them: whole, or as the chunks of a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.openai.answers import Piece
from serving.openai.parameters import ChatWish, CompletionWish, Wish
from serving.openai.shapes import Gathered, Head, chat_logprobs, completion_logprobs
from serving.shelf import Loaded

Chunk = Callable[[Piece], dict[str, Any]]


@dataclass(frozen=True)
class Lines:
    """How pieces are written in one stream, and what it opens with."""

    chunks: Chunk
    opening: Sequence[dict[str, Any]]


def sse(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def split_finish(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """A last chunk of a chat carries no text: what is left comes in a chunk before it."""
    choice = chunk["choices"][0]
    if choice["finish_reason"] is None or "delta" not in choice or not choice["delta"]:
        return [chunk]
    rest = chunk | {"choices": [choice | {"finish_reason": None}]}
    return [rest, chunk | {"choices": [choice | {"delta": {}, "logprobs": None}]}]


def chat_chunks(opening: Head, loaded: Loaded, wish: Wish) -> Chunk:
    begun: set[int] = set()

    def chunk(piece: Piece) -> dict[str, Any]:
        delta: dict[str, Any] = {"content": piece.text} if piece.text else {}
        if piece.index not in begun:
            begun.add(piece.index)
            delta = {"role": "assistant", "content": ""}
        scored = wish.logprobs is not None and piece.scores
        choice = {
            "index": piece.index,
            "delta": delta,
            "logprobs": chat_logprobs(loaded.tokenizer, piece.scores) if scored else None,
            "finish_reason": piece.finish,
        }
        return opening.as_dict() | {"choices": [choice]}

    return chunk


def completion_chunks(opening: Head, loaded: Loaded, wish: CompletionWish) -> Chunk:
    def chunk(piece: Piece) -> dict[str, Any]:
        scored = wish.logprobs is not None and piece.scores
        names = wish.token_names
        choice = {
            "index": piece.index,
            "text": piece.text,
            "logprobs": completion_logprobs(loaded.tokenizer, piece.scores, names=names) if scored else None,
            "finish_reason": piece.finish,
        }
        return opening.as_dict() | {"choices": [choice]}

    return chunk


def chat_choice(index: int, choice: Gathered, loaded: Loaded, wish: ChatWish) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": choice.text, "refusal": None},
        "logprobs": None if wish.logprobs is None else chat_logprobs(loaded.tokenizer, choice.scores),
        "finish_reason": choice.finish,
    }


def completion_choice(
    index: int, choice: Gathered, prompt: str, loaded: Loaded, wish: CompletionWish
) -> dict[str, Any]:
    scores = [*choice.echoed, *choice.scores]
    return {
        "index": index,
        "text": prompt + choice.text,
        "logprobs": None
        if wish.logprobs is None
        else completion_logprobs(loaded.tokenizer, scores, names=wish.token_names),
        "finish_reason": choice.finish,
    }
