"""What a base model is, from ``config.json`` and the safetensors headers alone, or from a shape of the catalogue.

Both files are untrusted, so a folder is read in a child, not in the daemon.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from appliance.errors import FileNotFound, unknown_name
from profiles.catalogue import HERE
from profiles.config import ModelConfig, parse_config, read_config
from profiles.families import GENERIC, Family, family_of, layout
from profiles.tensors import Tensor, read_tensors

CATALOGUE = "catalogue:"


@dataclass(frozen=True, kw_only=True)
class ModelProfile:
    """The shape of a model. Counts of a folder are exact because they come from the stored tensors."""

    folder: str
    """Where it lies, or ``catalogue:NAME``."""
    architecture: str
    family: str
    """A family of the catalogue, or ``generic``."""
    tested: bool
    """Whether what its training needs was measured for this family; False is said to the reader."""
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    attention: str
    """``full``, ``sliding 4096``, or ``sliding 512 in 22 of 26 layers``."""
    tied_embeddings: bool
    parameters: int
    active_parameters: int
    """Those that one token passes; fewer than all in a mixture of experts."""
    embedding_parameters: int
    """Embedding and output matrix, counted once where they are one."""
    kinds: Mapping[str, int]
    """Parameters by kind: embedding, head, attention, mlp, router, experts, norm, other."""
    experts: int
    experts_per_token: int
    dtype: str
    weight_bytes: int
    lora_width: int
    """Parameters that low-rank adaptation of all linear maps adds for each unit of rank: Σ (inputs + outputs)."""

    @property
    def from_catalogue(self) -> bool:
        return self.folder.startswith(CATALOGUE)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_model(name: Path | str) -> ModelProfile:
    """A folder, or ``catalogue:NAME``. Raises ``FileNotFound``, ``InvalidBaseModel`` and ``UnknownName``."""
    text = str(name)
    return catalogue_model(text.removeprefix(CATALOGUE)) if text.startswith(CATALOGUE) else read_model(name)


def read_model(folder: Path | str) -> ModelProfile:
    """Profile a Hugging Face folder. Raises ``FileNotFound`` and ``InvalidBaseModel``."""
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFound(f"There is no base model folder {root}.", where=str(root))
    config = read_config(root)
    family = family_of(config.model_type)
    tensors = read_tensors(root)
    tied = _tied(config, tensors)
    if tied and any(_kind(name) == "embedding" for name in tensors):  # some folders store it under both names
        tensors = {name: tensor for name, tensor in tensors.items() if not _is_head(name)}
    kinds: dict[str, int] = {}
    for name, tensor in tensors.items():
        kinds[_kind(name)] = kinds.get(_kind(name), 0) + tensor.count
    expected = layout(family, config)
    recognised = family is not GENERIC and not config.nested and expected.parameters == sum(kinds.values())
    dtypes = [tensor.dtype for tensor in tensors.values() if len(tensor.shape) >= 2]
    return _profile(
        config,
        family if recognised else GENERIC,
        folder=str(root),
        tied_embeddings=tied,
        kinds=kinds,
        dtype=max(sorted(set(dtypes)), key=dtypes.count, default="F32"),
        weight_bytes=sum(tensor.bytes for tensor in tensors.values()),
        lora_width=expected.lora_width if recognised else _lora_width(tensors),
    )


def catalogue_names() -> tuple[str, ...]:
    """The shapes that can be planned for without their weights."""
    return tuple(_catalogue())


def catalogue_model(name: str) -> ModelProfile:
    """The profile of a shipped shape, in bf16 as such models are published. Raises ``UnknownName``."""
    if name not in _catalogue():
        raise unknown_name("model of the catalogue", name, catalogue_names())
    values = _catalogue()[name]
    family = family_of(values["model_type"])
    config = parse_config(values, origin=CATALOGUE + name)
    counted = layout(family, config)
    return _profile(
        config,
        family,
        folder=CATALOGUE + name,
        tied_embeddings=family.tied if config.tied is None else config.tied,
        kinds=counted.kinds,
        dtype="BF16",
        weight_bytes=2 * counted.parameters,
        lora_width=counted.lora_width,
    )


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    return tomllib.loads((HERE / "models.toml").read_text(encoding="utf-8"))


def _profile(config: ModelConfig, family: Family, *, kinds: Mapping[str, int], **found: Any) -> ModelProfile:
    total, resting = sum(kinds.values()), 0
    if config.experts:
        resting = kinds.get("experts", 0) * (config.experts - config.experts_per_token) // config.experts
    return ModelProfile(
        architecture=config.architecture,
        family=family.name,
        tested=family.tested,
        layers=config.layers,
        hidden=config.hidden,
        intermediate=config.intermediate,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocab=config.vocab,
        context=config.context,
        attention=_attention(config),
        parameters=total,
        active_parameters=total - max(0, resting),
        embedding_parameters=kinds.get("embedding", 0) + kinds.get("head", 0),
        kinds={kind: count for kind, count in kinds.items() if count},
        experts=config.experts,
        experts_per_token=config.experts_per_token,
        **found,
    )


def _attention(config: ModelConfig) -> str:
    if not config.sliding_window:
        return "full"
    some = f" in {config.sliding_layers} of {config.layers} layers" if config.sliding_layers < config.layers else ""
    return f"sliding {config.sliding_window}{some}"


def _kind(name: str) -> str:
    if _is_head(name):
        return "head"
    for part, kind in _KINDS:
        if part in name:
            return kind
    return "other"


# In this order: an expert's matrix also has the name of an MLP's.
_KINDS = (
    ("embed", "embedding"),
    ("wte", "embedding"),
    ("wpe", "embedding"),
    ("norm", "norm"),
    (".ln_", "norm"),
    (".experts.", "experts"),
    ("mlp.gate.", "router"),
    ("moe.gate.", "router"),
    ("router", "router"),
    ("attn", "attention"),
    ("attention", "attention"),
    ("mlp", "mlp"),
    ("feed_forward", "mlp"),
)


def _is_head(name: str) -> bool:
    return name in ("lm_head.weight", "output.weight", "embed_out.weight")


def _lora_width(tensors: Mapping[str, Tensor]) -> int:
    """Of an unknown family: every matrix that is neither an embedding nor the head."""
    return sum(
        sum(tensor.shape)
        for name, tensor in tensors.items()
        if len(tensor.shape) == 2 and _kind(name) not in ("embedding", "head")
    )


def _tied(config: ModelConfig, names: Mapping[str, Tensor]) -> bool:
    """Whether the output matrix is the embedding; what the config leaves open, the stored tensors answer."""
    return config.tied if config.tied is not None else not any(_is_head(name) for name in names)
