"""What each family of models is made of: the matrices, norms and embeddings that a configuration means.

Where the weights are at hand their own headers are counted; this is how a shape without weights is counted, how a
folder is recognised as what it says, and which matrices low-rank adaptation wraps.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from profiles.catalogue import HERE
from profiles.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the models of one family differ from Llama; the words are explained in ``families.toml``."""

    name: str
    label: str
    model_types: tuple[str, ...]
    tested: bool = True
    """Whether the closed form of memory was measured for it."""
    bias: str = "config"
    fused: bool = False
    """Whether query, key and value are one matrix, and gate and up another."""
    qk_norm: bool = False
    norm: str = "rms"
    norms: int = 2
    mlp: str = "gated"
    attention: str = "sdpa"
    learned_positions: bool = False
    capped: bool = False
    """Whether the logits pass a soft cap."""
    dropout: bool = False
    """Whether its published configurations drop attention weights while training."""
    tied: bool = False
    """What a configuration means that does not say whether the output matrix is the embedding."""
    experts_lora: bool = False


GENERIC = Family(name="generic", label="unknown family", model_types=(), tested=False)


@cache
def families() -> dict[str, Family]:
    """The families of the catalogue, by name."""
    table = tomllib.loads((HERE / "families.toml").read_text(encoding="utf-8"))
    return {name: Family(name=name, **row | {"model_types": tuple(row["model_types"])}) for name, row in table.items()}


def family_of(model_type: str) -> Family:
    """The family of a ``model_type``, or the generic one."""
    return next((family for family in families().values() if model_type in family.model_types), GENERIC)


def family_named(name: str) -> Family:
    """The family of a profile."""
    return families().get(name, GENERIC)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One linear map inside a layer."""

    part: str
    """``attention``, ``mlp``, ``router`` or ``experts``."""
    outputs: int
    inputs: int
    bias: bool = False
    copies: int = 1
    """How many of them a layer has: the experts."""
    lora: int = 1
    """Times the rank that low-rank adaptation gives it, 0 where it leaves it alone; peft gives two matrices that
    transformers keeps as one twice the rank."""

    @property
    def parameters(self) -> int:
        return self.copies * (self.outputs * self.inputs + (self.outputs if self.bias else 0))

    @property
    def lora_width(self) -> int:
        """Parameters of its low-rank pair at rank 1."""
        return self.copies * self.lora * (self.outputs + self.inputs)


def layer_matrices(family: Family, config: ModelConfig, *, sparse: bool) -> Iterator[Matrix]:
    """The linear maps of one layer; ``sparse`` where it holds experts."""
    hidden, query, key = config.hidden, config.heads * config.head_dim, config.kv_heads * config.head_dim
    biased = family.bias == "all" or (family.bias == "config" and config.attention_bias)
    inner = biased or family.bias == "qkv"
    if family.fused:
        yield Matrix(part="attention", outputs=query + 2 * key, inputs=hidden, bias=inner)
    else:
        for outputs in (query, key, key):
            yield Matrix(part="attention", outputs=outputs, inputs=hidden, bias=inner)
    yield Matrix(part="attention", outputs=hidden, inputs=query, bias=biased)
    yield from _expert_matrices(family, config) if sparse else _dense_matrices(family, config)


def _dense_matrices(family: Family, config: ModelConfig) -> Iterator[Matrix]:
    hidden, inner = config.hidden, config.intermediate
    biased = family.bias == "all" or (family.bias == "config" and config.mlp_bias)
    if family.mlp != "gated":
        yield Matrix(part="mlp", outputs=inner, inputs=hidden, bias=biased)
    elif family.fused:
        yield Matrix(part="mlp", outputs=2 * inner, inputs=hidden, bias=biased)
    else:
        yield Matrix(part="mlp", outputs=inner, inputs=hidden, bias=biased)
        yield Matrix(part="mlp", outputs=inner, inputs=hidden, bias=biased)
    yield Matrix(part="mlp", outputs=hidden, inputs=inner, bias=biased)


def _expert_matrices(family: Family, config: ModelConfig) -> Iterator[Matrix]:
    hidden, inner, count = config.hidden, config.expert_intermediate, config.experts
    wrapped = 1 if family.experts_lora else 0
    yield Matrix(part="router", outputs=count, inputs=hidden, lora=wrapped)
    yield Matrix(part="experts", outputs=2 * inner, inputs=hidden, copies=count, lora=2 * wrapped)
    yield Matrix(part="experts", outputs=hidden, inputs=inner, copies=count, lora=wrapped)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a whole model is made of."""

    kinds: dict[str, int]
    """Parameters by kind: embedding, attention, mlp, router, experts, norm, head."""
    lora_width: int
    """Parameters that low-rank adaptation of all linear maps adds for each unit of rank."""

    @property
    def parameters(self) -> int:
        return sum(self.kinds.values())


def layout(family: Family, config: ModelConfig) -> Layout:
    """Count what the configuration means."""
    tied = family.tied if config.tied is None else config.tied
    embedding = config.vocab * config.hidden
    positions = config.context * config.hidden if family.learned_positions else 0
    kinds = {"embedding": embedding + positions, "head": 0 if tied else embedding}
    width = 0
    for sparse, layers in ((False, config.layers - config.sparse_layers), (True, config.sparse_layers)):
        for matrix in layer_matrices(family, config, sparse=sparse) if layers else ():
            kinds[matrix.part] = kinds.get(matrix.part, 0) + layers * matrix.parameters
            width += layers * matrix.lora_width
    per_norm = config.hidden * (2 if family.norm == "layer" else 1)
    in_layer = family.norms * per_norm + (2 * config.head_dim if family.qk_norm else 0)
    kinds["norm"] = config.layers * in_layer + per_norm
    return Layout(kinds=kinds, lora_width=width)
