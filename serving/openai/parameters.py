"""What a request asks for, checked before anything is queued."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import nearest
from serving.engine import Sampling
from serving.openai.errors import invalid

_MOST_CHOICES = 4
_MOST_PROMPTS = 8
_MOST_STOPS = 16
_MOST_MESSAGES = 4096
_MOST_TOKENS = 1 << 28
PUBLIC_LOGPROBS = 20
_ROLES = ("system", "developer", "user", "assistant", "tool")
_SHARED = frozenset(
    {"model", "stream", "stream_options", "stop", "n", "max_tokens", "temperature", "top_p", "top_k", "seed"}
    | {"presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "user"}
)
_CHAT = _SHARED | {"messages", "max_completion_tokens", "top_logprobs"}
_COMPLETION = _SHARED | {"prompt", "echo", "return_tokens_as_token_ids"}
# What clients send by habit and what leaves the answer as it is: named in a header, not refused.
_HARMLESS = frozenset(
    {"metadata", "store", "service_tier", "parallel_tool_calls", "prompt_cache_key", "safety_identifier"}
    | {"reasoning_effort", "verbosity"}
)
# What would change the answer and is not there: values that ask for nothing are let through.
_ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "best_of": (1,),
    "suffix": ("",),
}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What chat and plain completion have in common."""

    model: str
    stream: bool
    usage: bool
    """Whether a stream ends with a chunk of usage."""
    stops: tuple[str, ...]
    choices: int
    max_tokens: int | None
    sampling: Sampling
    logprobs: int | None
    """Alternatives to report at each token; None reports no probabilities."""
    ignored: tuple[str, ...]
    """Parameters that had no effect."""


@dataclass(frozen=True, kw_only=True)
class ChatWish(Wish):
    messages: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class CompletionWish(Wish):
    prompts: tuple[str | tuple[int, ...], ...]
    echo: bool
    token_names: bool
    """Whether tokens are written as ``token_id:N``, which is certain where text is not."""


def parse_chat(body: Mapping[str, Any]) -> ChatWish:
    """A request to ``/v1/chat/completions``. Raises ``ApiError``."""
    wanted = body.get("logprobs")
    if wanted is not None and not isinstance(wanted, bool):
        raise invalid("logprobs must be true or false.", "logprobs")
    top = _whole(body, "top_logprobs", 0, PUBLIC_LOGPROBS)
    if top is not None and not wanted:
        raise invalid("top_logprobs needs logprobs to be true.", "top_logprobs")
    limits = [_whole(body, key, 1, _MOST_TOKENS) for key in ("max_completion_tokens", "max_tokens")]
    shared = _shared(body, _CHAT)
    shared["logprobs"] = (top or 0) if wanted else None
    shared["max_tokens"] = next((limit for limit in limits if limit is not None), None)
    return ChatWish(messages=_messages(body.get("messages")), **shared)


def parse_completion(body: Mapping[str, Any], *, most_logprobs: int = PUBLIC_LOGPROBS) -> CompletionWish:
    """A request to ``/v1/completions``. Raises ``ApiError``."""
    shared = _shared(body, _COMPLETION)
    shared["logprobs"] = _whole(body, "logprobs", 0, most_logprobs)
    limit = _whole(body, "max_tokens", 0, _MOST_TOKENS)
    shared["max_tokens"] = 16 if limit is None else limit
    echo = _flag(body, "echo")
    if shared["max_tokens"] == 0 and not echo:
        raise invalid("max_tokens is 0, which only makes sense with echo.", "max_tokens")
    if echo and shared["stream"]:
        raise invalid("echo cannot be streamed.", "echo")
    prompts = _prompts(body.get("prompt"))
    return CompletionWish(prompts=prompts, echo=echo, token_names=_flag(body, "return_tokens_as_token_ids"), **shared)


def _shared(body: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    model = body.get("model")
    if not _is_text(model) or not model:
        raise invalid("model must name a model; GET /v1/models lists them.", "model", "missing_required_parameter")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise invalid("stream_options must be an object.", "stream_options")
    return {
        "model": model,
        "stream": _flag(body, "stream"),
        "usage": bool((options or {}).get("include_usage")),
        "stops": _stops(body.get("stop")),
        "choices": _whole(body, "n", 1, _MOST_CHOICES) or 1,
        "sampling": _sampling(body),
        "ignored": _unheeded(body, known),
    }


def _unheeded(body: Mapping[str, Any], known: frozenset[str]) -> tuple[str, ...]:
    """The harmless parameters that have no effect. Raises ``ApiError`` for one that would change the answer."""
    others = sorted(key for key, value in body.items() if key not in known and value is not None)
    for key in others:
        if key in _HARMLESS or any(body[key] == nothing for nothing in _ASKS_NOTHING.get(key, ())):
            continue
        if key in _ASKS_NOTHING:
            raise invalid(f"{key} is not supported by this endpoint.", key, "unsupported_parameter")
        guess = nearest(key, known)
        meant = f" Did you mean '{guess}'?" if guess else ""
        raise invalid(f"No parameter is named '{key[:80]}'.{meant}", key[:80], "unknown_parameter")
    return tuple(others)


def _sampling(body: Mapping[str, Any]) -> Sampling:
    temperature = _number(body, "temperature", 0, 2)
    top_p = _number(body, "top_p", 0, 1)
    return Sampling(
        temperature=1.0 if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        top_k=_whole(body, "top_k", 0, _MOST_TOKENS) or 0,
        seed=_seed(body),
        presence_penalty=_number(body, "presence_penalty", -2, 2) or 0.0,
        frequency_penalty=_number(body, "frequency_penalty", -2, 2) or 0.0,
        logit_bias=_bias(body.get("logit_bias")),
    )


def _seed(body: Mapping[str, Any]) -> int | None:
    seed = _whole(body, "seed", -(1 << 63), (1 << 64) - 1)
    return None if seed is None else seed % (1 << 64)


def _flag(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{key} must be true or false.", key)
    return bool(value)


def _whole(body: Mapping[str, Any], key: str, low: int, high: int) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(f"{key} must be a whole number from {low} to {high}.", key)
    return value


def _number(body: Mapping[str, Any], key: str, low: float, high: float) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(f"{key} must be a number from {low:g} to {high:g}.", key)
    return float(value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    good = (
        isinstance(stops, list) and len(stops) <= _MOST_STOPS and all(_is_text(s) and 0 < len(s) <= 1000 for s in stops)
    )
    if not good:
        raise invalid(f"stop must be a text or up to {_MOST_STOPS} texts of 1 to 1000 characters.", "stop")
    return tuple(stops)


def _bias(value: Any) -> dict[int, float]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > 1024:
        raise invalid("logit_bias must be an object of up to 1024 token ids.", "logit_bias")
    biases: dict[int, float] = {}
    for token, bias in value.items():
        number = isinstance(bias, int | float) and not isinstance(bias, bool) and math.isfinite(bias)
        if not (token.isascii() and token.isdigit() and len(token) < 10 and number and -100 <= bias <= 100):
            raise invalid("logit_bias must map token ids to numbers from -100 to 100.", "logit_bias")
        biases[int(token)] = float(bias)
    return biases


def _messages(value: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_MESSAGES:
        raise invalid(f"messages must be a list of 1 to {_MOST_MESSAGES} messages.", "messages")
    return tuple(_message(item, f"messages[{index}]") for index, item in enumerate(value))


def _message(item: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(item, dict) or item.get("role") not in _ROLES:
        raise invalid(f"{where}.role must be one of {', '.join(_ROLES)}.", f"{where}.role")
    role = "system" if item["role"] == "developer" else item["role"]
    message = {"role": role, "content": _content(item.get("content"), f"{where}.content")}
    for key in ("name", "tool_calls", "tool_call_id"):
        if item.get(key) is not None:
            message[key] = item[key]
    return message


def _content(content: Any, where: str) -> str:
    if content is None:
        return ""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = []
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise invalid(f"{where} holds a part that is not text; this model reads text only.", where)
        if not _is_text(part.get("text")):
            raise invalid(f"{where} must be text, whole characters only.", where)
        texts.append(part["text"])
    return "".join(texts)


def _prompts(value: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str) or _is_ids(value):
        value = [value]
    good = isinstance(value, list) and 0 < len(value) <= _MOST_PROMPTS and all(_is_text(p) or _is_ids(p) for p in value)
    if not good:
        raise invalid(f"prompt must be a text, a list of token ids, or up to {_MOST_PROMPTS} of them.", "prompt")
    return tuple(prompt if isinstance(prompt, str) else tuple(prompt) for prompt in value)


def _is_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(id_, int) and not isinstance(id_, bool) and 0 <= id_ < _MOST_TOKENS for id_ in value)
    )


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
