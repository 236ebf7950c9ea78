"""Predictions against what others measured and published; nothing in the closed form was fitted to these."""

from __future__ import annotations

import pytest

from profiles.activations import Shape
from profiles.memory import memory_parts
from profiles.model import catalogue_model


def allocated(name: str, *, length: int, micro_batch: int, rank: int) -> float:
    """GB of tensors at the peak of LoRA in bf16 without recomputation, on a GPU."""
    shape = Shape(
        adapter="lora",
        precision="bf16",
        micro_batch=micro_batch,
        sequence_length=length,
        checkpointing=False,
        rank=rank,
        on_cpu=False,
    )
    parts = memory_parts(catalogue_model(name), shape)
    return sum(size for part, size in parts.items() if part not in ("runtime", "margin")) / 1e9


# LitGPT, tutorials/resource-tables.md, LoRA on one A100 40 GB, bf16-true, Alpaca: 1304 tokens at most.
@pytest.mark.parametrize(
    ("name", "micro_batch", "published"),
    [("llama-2-7b", 1, 21.30), ("llama-2-7b", 2, 29.07), ("llama-2-13b", 1, 38.12)],
)
def test_litgpt_measured_what_is_predicted(name: str, micro_batch: int, published: float) -> None:
    assert allocated(name, length=1304, micro_batch=micro_batch, rank=8) == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize(("name", "micro_batch"), [("llama-2-7b", 4), ("llama-2-13b", 2), ("llama-2-13b", 4)])
def test_what_ran_out_of_memory_for_litgpt_is_predicted_to(name: str, micro_batch: int) -> None:
    assert allocated(name, length=1304, micro_batch=micro_batch, rank=8) > 40


def test_the_states_of_a_full_fine_tune_are_sixteen_bytes_a_parameter() -> None:
    """fp32 weights, gradients and both moments: ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054), section 3.1."""
    model = catalogue_model("llama-3.1-8b")
    shape = Shape(adapter="full", precision="bf16", micro_batch=1, sequence_length=8, checkpointing=True, on_cpu=False)
    parts = memory_parts(model, shape)
    assert sum(parts[part] for part in ("weights", "gradients", "optimizer")) == 16 * model.parameters
