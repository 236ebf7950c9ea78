"""The memory of a training job in closed form, part by part, in bytes.

Peak = what stays (weights, adapter, gradients, optimizer) + the larger of the forward's end and the loss
(an instants-max, not a sum over all transients). Formulas: weights and optimizer by counting; activations from
Korthikanti et al. 2022 (arXiv:2205.05198) reduced to what a Llama layer with fused attention keeps; logits as
torch's cross-entropy holds them (stored, upcast, gradient).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiles.model import ModelProfile

PRECISION_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
# Interpreter, torch and transformers resident in the host's memory before the first tensor.
HOST_RUNTIME_BYTES = 900_000_000
# CUDA context with its workspaces; measured values lie between 0.4 and 0.7 GB.
DEVICE_RUNTIME_BYTES = 700_000_000
MARGIN = 0.10


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The part of a plan that memory depends on."""

    adapter: str
    precision: str
    micro_batch: int
    sequence_length: int
    checkpointing: bool
    rank: int = 0
    on_cpu: bool = True


def trainable_parameters(model: ModelProfile, adapter: str, rank: int) -> int:
    """How many parameters get a gradient. LoRA: Σ r (inputs + outputs) over the wrapped matrices."""
    if adapter == "full":
        return model.parameters
    return rank * model.lora_width


def memory_parts(model: ModelProfile, shape: Shape) -> dict[str, int]:
    """Bytes of each part on the training device."""
    width = PRECISION_BYTES[shape.precision]
    trained = trainable_parameters(model, shape.adapter, shape.rank)
    full = shape.adapter == "full"
    tokens = shape.micro_batch * shape.sequence_length
    parts = {
        "weights": int(model.parameters * (4.0 if full else width)),
        "adapter": 0 if full else trained * 4,
        "gradients": trained * 4,
        "optimizer": trained * 8,
        "activations": int(tokens * _activation_bytes(model, shape, width)),
        "logits": int(tokens * model.vocab * (width + 8)),
        "runtime": 0 if shape.on_cpu else DEVICE_RUNTIME_BYTES,
    }
    parts["margin"] = int(MARGIN * sum(parts.values()))
    return parts


def _activation_bytes(model: ModelProfile, shape: Shape, width: float) -> float:
    """Bytes kept for one token until the backward pass."""
    # Inputs of the norms, q, k, v, attention output and residuals: about 10 H values; gate, up and their product: 4 M.
    layer = width * (10.5 * model.hidden + 4 * model.intermediate)
    if shape.adapter != "full":
        layer += 4 * (4 * model.hidden + model.intermediate)  # inputs of the low-rank matrices, in fp32
    if shape.checkpointing:
        return width * model.hidden * model.layers + layer
    return layer * model.layers


def disk_bytes(model: ModelProfile, adapter: str, rank: int, *, keep: int, formats: int) -> int:
    """Checkpoints kept plus the one being written, the merged model, and every export at two bytes a weight."""
    trained = trainable_parameters(model, adapter, rank)
    checkpoint = trained * 12
    merged = model.parameters * 4
    return checkpoint * (keep + 1) + trained * 4 + merged + formats * model.parameters * 2


def device_bytes(parts: dict[str, int]) -> int:
    """The peak on the device."""
    return sum(parts.values())


def as_plan_memory(parts: dict[str, int], *, on_cpu: bool, disk: int) -> dict[str, Any]:
    """The ``memory`` object of ``luthier.plan/1``; on a CPU the device's memory is the host's."""
    total = device_bytes(parts)
    host = total + HOST_RUNTIME_BYTES if on_cpu else HOST_RUNTIME_BYTES + parts["weights"]
    return {"device_bytes": total, "host_bytes": host, "disk_bytes": disk, "parts": parts}
