"""What a model's ``config.json`` says that a GGUF file must repeat, checked before anything is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.errors import InvalidBaseModel


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model class of Transformers and how llama.cpp knows it."""

    name: str
    """``general.architecture``."""
    interleaved: bool
    """Whether llama.cpp rotates neighbouring pairs, so that rows of Q and K change places."""


FAMILIES: dict[str, Family] = {
    "LlamaForCausalLM": Family(name="llama", interleaved=True),
    "MistralForCausalLM": Family(name="llama", interleaved=True),
    "Qwen2ForCausalLM": Family(name="qwen2", interleaved=False),
}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes and constants of one decoder."""

    family: Family
    blocks: int
    embedding: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rope_base: float
    rope_scaling: Mapping[str, Any] = field(default_factory=dict)
    """Empty, or ``rope_type`` ``linear`` or ``llama3`` with its parameters."""
    tied: bool


def read_architecture(folder: Path) -> Architecture:
    """Read ``config.json``. Raises ``InvalidBaseModel`` for what GGUF export does not cover, or is absurd."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidBaseModel(f"{file} cannot be read: {error}.", where=str(file)) from error
    if not isinstance(config, dict):
        raise InvalidBaseModel(f"{file} is not a JSON object.", where=str(file))
    family = _family(config, file)
    heads = _count(config, "num_attention_heads", file)
    embedding = _count(config, "hidden_size", file)
    rope = _rope(config)
    activation = config.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise _unsupported(file, f"hidden_act is '{activation}'", "silu")
    return Architecture(
        family=family,
        blocks=_count(config, "num_hidden_layers", file, most=1000),
        embedding=embedding,
        feed_forward=_count(config, "intermediate_size", file),
        heads=heads,
        kv_heads=_count(config, "num_key_value_heads", file) if config.get("num_key_value_heads") else heads,
        head_size=_count(config, "head_dim", file) if config.get("head_dim") else embedding // heads,
        vocabulary=_count(config, "vocab_size", file),
        context=_context(config, file),
        norm_epsilon=_number(config.get("rms_norm_eps", 1e-6), "rms_norm_eps", file),
        rope_base=_number(rope.get("rope_theta") or config.get("rope_theta") or 10000.0, "rope_theta", file),
        rope_scaling=_scaling(rope, file),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _family(config: Mapping[str, Any], file: Path) -> Family:
    names = config.get("architectures") or [None]
    name = names[0] if isinstance(names, list) else None
    if name not in FAMILIES:
        raise _unsupported(file, f"the architecture is '{name}'", ", ".join(FAMILIES))
    return FAMILIES[name]


def _unsupported(file: Path, found: str, supported: str) -> InvalidBaseModel:
    return InvalidBaseModel(
        f"A GGUF file cannot be written: {found}; supported: {supported}.",
        hint="Export as safetensors instead, or tune a model of a supported family.",
        where=str(file),
    )


def _count(config: Mapping[str, Any], key: str, file: Path, *, most: int = 10_000_000) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidBaseModel(f"{key} is {value!r}, expected a whole number from 1 to {most}.", where=str(file))
    return value


def _number(value: Any, key: str, file: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InvalidBaseModel(f"{key} is {value!r}, expected a positive number.", where=str(file))
    return float(value)


def _context(config: Mapping[str, Any], file: Path) -> int:
    """Positions the model was trained for; llama.cpp attends to all of them, so a sliding window is the limit."""
    context = _count(config, "max_position_embeddings", file)
    slides = config.get("use_sliding_window", True) and isinstance(config.get("sliding_window"), int)
    return min(context, config["sliding_window"]) if slides else context


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Transformers 5 writes ``rope_parameters``; older folders ``rope_scaling`` and a top-level ``rope_theta``."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return rope if isinstance(rope, dict) else {}


def _scaling(rope: Mapping[str, Any], file: Path) -> Mapping[str, Any]:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    needed = {
        "default": (),
        "linear": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    }
    if kind not in needed:
        raise _unsupported(file, f"its rotary scaling is '{kind}'", ", ".join(needed))
    values = {key: _number(rope.get(key), key, file) for key in needed[kind]}
    return {"rope_type": kind, **values} if values else {}
