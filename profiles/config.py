"""``config.json`` of a base model, bounded and brought to one set of names.

It is untrusted: every number is checked against a range before anything is computed from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import InvalidBaseModel

_SIZE_MAX = 16 * 2**20
_REQUIRED = {
    "hidden_size": (1, 65_536),
    "num_hidden_layers": (1, 512),
    "num_attention_heads": (1, 1024),
    "vocab_size": (1, 2_000_000),
    "max_position_embeddings": (1, 16_777_216),
}
_OPTIONAL = {
    "num_key_value_heads": (1, 1024),
    "head_dim": (1, 8192),
    "intermediate_size": (1, 1_048_576),
    "sliding_window": (1, 16_777_216),
    "num_local_experts": (1, 4096),
    "num_experts": (1, 4096),
    "n_routed_experts": (1, 4096),
    "num_experts_per_tok": (1, 4096),
    "moe_intermediate_size": (1, 1_048_576),
    "decoder_sparse_step": (1, 512),
}
# Families whose names differ from Llama's for the same thing.
_GPT2_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
    "n_inner": "intermediate_size",
}
# Families whose heads are not hidden / heads wide where the configuration does not say (transformers' defaults).
_HEAD_DIMS = {"gemma2": 256, "gemma3_text": 256, "qwen3": 128}
# Every so many layers one sees everything, where the configuration does not list them.
_FULL_EVERY = {"gemma2": 2, "gemma3_text": 6}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The numbers of a configuration that its shape, its memory and its time depend on."""

    model_type: str
    architecture: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    tied: bool | None
    """None where the configuration leaves it to the family or the weights."""
    attention_bias: bool
    mlp_bias: bool
    sliding_window: int | None
    """Positions that a sliding layer sees; None where every layer sees all."""
    sliding_layers: int
    experts: int
    experts_per_token: int
    expert_intermediate: int
    sparse_layers: int
    """Layers with experts instead of one MLP."""
    nested: bool
    """Whether this is the text part of a model that also takes something else."""


def read_config(root: Path) -> ModelConfig:
    """The configuration of a folder. Raises ``InvalidBaseModel``."""
    path = root / "config.json"
    try:
        if path.stat().st_size > _SIZE_MAX:
            raise ValueError(f"it is larger than {_SIZE_MAX} bytes")
        config = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidBaseModel(
            f"{root} has no config.json, so it is not a model in the Hugging Face layout.",
            hint="Give the folder that holds config.json, tokenizer.json and *.safetensors.",
            where=str(path),
        ) from error
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidBaseModel(f"{path} is not JSON: {error}.", where=str(path)) from error
    if not isinstance(config, dict):
        raise InvalidBaseModel(f"{path} holds {type(config).__name__}, expected an object.", where=str(path))
    if "auto_map" in config:
        raise InvalidBaseModel(
            f"{path} asks to run Python code that came with the model (auto_map), which Luthier never does.",
            hint="Use a model of an architecture that transformers has itself.",
            where=str(path),
        )
    return parse_config(config, origin=str(path))


def parse_config(values: Mapping[str, Any], *, origin: str) -> ModelConfig:
    """Check and rename. Raises ``InvalidBaseModel``."""
    inner = values.get("text_config")
    nested = isinstance(inner, Mapping)
    config: dict[str, Any] = dict(inner) if isinstance(inner, Mapping) else dict(values)
    for theirs, ours in _GPT2_NAMES.items():
        if theirs in config and ours not in config:
            config[ours] = config[theirs]
    faults = [fault for key, bounds in _REQUIRED.items() if (fault := _fault(config.get(key), key, bounds))]
    faults += [
        fault
        for key, bounds in _OPTIONAL.items()
        if config.get(key) is not None and (fault := _fault(config[key], key, bounds))
    ]
    if faults:
        raise InvalidBaseModel(f"{origin}: {'; '.join(faults)}.", where=origin)
    names = values.get("architectures")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    inner_size = config.get("intermediate_size") or 4 * hidden
    experts = next((config[key] for key in _OPTIONAL if key.endswith("experts") and config.get(key)), 0)
    window, sliding = _sliding(config)
    return ModelConfig(
        model_type=str(config.get("model_type") or values.get("model_type") or ""),
        architecture=str(names[0]) if isinstance(names, list) and names else "unknown",
        hidden=hidden,
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or _HEAD_DIMS.get(str(config.get("model_type"))) or max(1, hidden // heads),
        intermediate=inner_size,
        vocab=config["vocab_size"],
        context=config["max_position_embeddings"],
        tied=_flag(config.get("tie_word_embeddings", values.get("tie_word_embeddings"))),
        attention_bias=config.get("attention_bias") is True,
        mlp_bias=config.get("mlp_bias") is True,
        sliding_window=window,
        sliding_layers=sliding,
        experts=experts,
        experts_per_token=config.get("num_experts_per_tok") or min(experts, 1),
        expert_intermediate=config.get("moe_intermediate_size") or inner_size,
        sparse_layers=_sparse_layers(config) if experts else 0,
        nested=nested,
    )


def _fault(value: Any, key: str, bounds: tuple[int, int]) -> str | None:
    low, high = bounds
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return None
    said = repr(value)
    return f"{key} is {said if len(said) <= 60 else said[:60] + '…'}, expected a whole number from {low} to {high}"


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _sliding(config: Mapping[str, Any]) -> tuple[int | None, int]:
    """The window, and how many layers it limits."""
    window, layers, kinds = config.get("sliding_window"), config["num_hidden_layers"], config.get("layer_types")
    if window is None or config.get("use_sliding_window") is False:
        return None, 0
    if isinstance(kinds, list):
        count = sum(kind == "sliding_attention" for kind in kinds[:layers])
        return (window, count) if count else (None, 0)
    every = _FULL_EVERY.get(str(config.get("model_type")))
    return window, layers - layers // every if every else layers


def _sparse_layers(config: Mapping[str, Any]) -> int:
    """Qwen's rule: every ``decoder_sparse_step``-th layer that is not in ``mlp_only_layers``."""
    layers, step, plain = config["num_hidden_layers"], config.get("decoder_sparse_step") or 1, set()
    if isinstance(config.get("mlp_only_layers"), list):
        plain = {number for number in config["mlp_only_layers"] if isinstance(number, int)}
    return sum((number + 1) % step == 0 and number not in plain for number in range(layers))
