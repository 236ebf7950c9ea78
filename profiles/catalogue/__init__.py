"""Tables of facts with their sources: GPUs and method recipes."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as its vendor describes it."""

    name: str
    memory_bytes: int
    bf16_flops: float
    """Dense bf16 (fp16 where bf16 is missing) tensor operations a second."""
    bandwidth: float
    """Bytes a second."""
    power_watts: float
    capability: tuple[int, int]


@cache
def _gpus() -> dict[str, Gpu]:
    table = tomllib.loads((HERE / "gpus.toml").read_text(encoding="utf-8"))["gpu"]
    return {
        name: Gpu(
            name=row["name"],
            memory_bytes=int(row["memory_gb"] * 10**9),
            bf16_flops=row["bf16_tflops"] * 1e12,
            bandwidth=row["bandwidth_gb_s"] * 1e9,
            power_watts=float(row["power_watts"]),
            capability=(row["capability"][0], row["capability"][1]),
        )
        for name, row in table.items()
    }


def gpu_names() -> tuple[str, ...]:
    """The short names of the GPUs in the table."""
    return tuple(_gpus())


def find_gpu(name: str) -> Gpu | None:
    """The GPU with this short name, or the one a driver's name means: every part of the short name is a word of it.

    >>> find_gpu("NVIDIA A100-SXM4-80GB") is find_gpu("A100-80GB")
    True
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    said = set(words) | {first + second for first, second in pairwise(words)}
    matches = [key for key in _gpus() if set(key.lower().split("-")) <= said]
    return _gpus()[max(matches, key=len)] if matches else None
