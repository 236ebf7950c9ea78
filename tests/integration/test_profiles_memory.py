"""The closed form of memory against what torch's allocator hands out on the real training stack.

The whole grid is ``benchmarks/memory.py``; here are the corners of it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def bench() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "memory.py"
    spec = importlib.util.spec_from_file_location("memory_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SMALL = (("vocab_size", 512), ("num_hidden_layers", 3))


@pytest.mark.parametrize(
    ("family", "adapter", "precision", "checkpointing"),
    [
        ("llama", "lora", "fp32", False),
        ("llama", "lora", "bf16", True),
        ("llama", "full", "bf16", False),
        ("qwen3", "full", "fp32", True),
        ("phi3", "lora", "bf16", False),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_predicted_is_what_training_takes_and_never_much_less(
    bench: Any, tmp_path: Path, family: str, adapter: str, precision: str, checkpointing: bool
) -> None:
    case = bench.Case(
        family=family,
        changes=SMALL,
        adapter=adapter,
        precision=precision,
        checkpointing=checkpointing,
        rows=2,
        length=128,
    )
    model, profile = bench.build(case, tmp_path)
    assert -0.03 < bench.predict(case, profile) / bench.measure(case, model) - 1 < 0.10


def test_the_grid_is_as_large_as_promised(bench: Any) -> None:
    cases = list(bench.cases())
    assert len(set(cases)) == len(cases) >= 60
