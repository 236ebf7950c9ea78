"""The names of export formats, who writes each, and how much each may change the answers.

A format is ``exporter`` or ``exporter:precision``, such as ``gguf:q8_0`` or ``safetensors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import unknown_name
from appliance.registry import Entry, Registry

EXPORTERS = Registry(
    "exporter",
    {
        "gguf": Entry("appliance.export.engine.gguf_file:export", "One file for llama.cpp", ("numpy", "gguf")),
        "safetensors": Entry("appliance.export.engine.folder:export", "A Hugging Face folder, the adapter merged in"),
    },
)


@dataclass(frozen=True)
class Format:
    """One thing that can be made, and what its parity check demands."""

    name: str
    exporter: str
    precision: str
    """How weights are held: f32, f16, q8_0…"""
    exact: bool
    """Whether every greedy token must equal the trained model's, near-ties excepted."""
    divergence: float
    """Largest mean Kullback-Leibler divergence from the trained model, in nats a token."""
    perplexity: float
    """Largest factor between the perplexities, either way."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an exporter is asked for: ``export(order) -> {name of format: path}``."""

    merged: Path
    """The model as a committed Hugging Face folder."""
    artifacts: Path
    """Where the exporter commits what it makes, in a folder of its own."""
    name: str
    """Of the model; fit for a file name."""
    formats: tuple[Format, ...]
    phase: Callable[[str], None]
    """Told what goes on."""


def _gguf(precision: str, divergence: float, perplexity: float, *, exact: bool = False) -> Format:
    return Format(f"gguf:{precision}", "gguf", precision, exact, divergence, perplexity)


# bf16 keeps 8 bits of each weight, an eighth of what f16 does, so near-ties turn and it is bounded like a quantised
# format. The bounds are about four times what sound exports of models with 0.7 M and 3.4 M parameters measured
# (q8_0 0.001 nats, q4_k_m 0.04, q2_k 0.27): small models suffer most from rounding.
_ALL = (
    _gguf("f32", 1e-6, 1.001, exact=True),
    _gguf("f16", 1e-4, 1.005, exact=True),
    _gguf("bf16", 1e-3, 1.02),
    _gguf("q8_0", 5e-3, 1.05),
    _gguf("q6_k", 2e-2, 1.06),
    _gguf("q5_k_m", 4e-2, 1.1),
    _gguf("q5_k_s", 4e-2, 1.1),
    _gguf("q5_0", 4e-2, 1.1),
    _gguf("q4_k_m", 0.15, 1.2),
    _gguf("q4_k_s", 0.2, 1.25),
    _gguf("q4_0", 0.25, 1.4),
    _gguf("iq4_xs", 0.2, 1.25),
    _gguf("q3_k_m", 0.4, 1.6),
    _gguf("q2_k", 1.2, 3.0),
    Format("safetensors", "safetensors", "f32", True, 1e-6, 1.001),
)
FORMATS: dict[str, Format] = {format_.name: format_ for format_ in _ALL}


def parse_formats(names: Iterable[str]) -> tuple[Format, ...]:
    """The formats called ``names``, each once, in their order. Raises ``UnknownName`` with the nearest."""
    return tuple(parse_format(name) for name in dict.fromkeys(name.strip().lower() for name in names))


def parse_format(name: str) -> Format:
    """The format called ``name``. Raises ``UnknownName`` with the nearest."""
    try:
        return FORMATS[name]
    except KeyError:
        raise unknown_name("export format", name, FORMATS) from None
