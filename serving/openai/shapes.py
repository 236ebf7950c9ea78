"""The objects of the OpenAI protocol, as dictionaries."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.data.chat import Tokenizer
from serving.engine import TokenScore
from serving.openai.answers import Piece


@dataclass(frozen=True)
class Head:
    """What every object of one answer repeats."""

    kind: str
    model: str
    prefix: str
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "object": self.kind, "created": self.created, "model": self.model}


def head(kind: str, model: str, prefix: str) -> Head:
    """A head with an id of its own."""
    return Head(kind, model, prefix, f"{prefix}-{secrets.token_hex(12)}")


@dataclass
class Gathered:
    """One choice put together from its pieces."""

    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    echoed: tuple[TokenScore, ...] = ()
    finish: str | None = None

    def add(self, piece: Piece) -> None:
        self.text += piece.text
        self.scores += piece.scores
        self.echoed = piece.echoed or self.echoed
        self.finish = piece.finish or self.finish


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def chat_logprobs(tokenizer: Tokenizer, scores: Sequence[TokenScore]) -> dict[str, Any]:
    """``logprobs`` of a chat choice."""
    return {"content": [_chat_token(tokenizer, score) for score in scores], "refusal": None}


def completion_logprobs(tokenizer: Tokenizer, scores: Sequence[TokenScore], *, names: bool) -> dict[str, Any]:
    """``logprobs`` of a plain completion; ``names`` writes tokens as ``token_id:N``."""
    offsets, offset = [], 0
    for score in scores:
        offsets.append(offset)
        offset += len(token_text(tokenizer, score.id))

    def written(id_: int) -> str:
        return f"token_id:{id_}" if names else token_text(tokenizer, id_)

    return {
        "tokens": [written(score.id) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [
            None if score.logprob is None else {written(id_): value for id_, value in score.top} for score in scores
        ],
        "text_offset": offsets,
    }


def token_text(tokenizer: Tokenizer, id_: int) -> str:
    """One token as text; a part of a character is shown as U+FFFD."""
    return tokenizer.decode([id_], skip_special=False)


def _chat_token(tokenizer: Tokenizer, score: TokenScore) -> dict[str, Any]:
    best = [_written(tokenizer, id_, value) for id_, value in score.top]
    return {**_written(tokenizer, score.id, score.logprob), "top_logprobs": best}


def _written(tokenizer: Tokenizer, id_: int, logprob: float | None) -> dict[str, Any]:
    text = token_text(tokenizer, id_)
    return {"token": text, "logprob": logprob, "bytes": None if "\ufffd" in text else list(text.encode())}


def model_object(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A line of ``/v1/models``."""
    return {
        "id": name,
        "object": "model",
        "created": entry["created"],
        "owned_by": "luthier",
        "root": entry["id"],
        "context_length": entry["context"],
    }
