"""The memory of a training job in closed form, part by part, in bytes, and what it writes to disk.

Peak = what stays (weights, adapter, gradients, optimizer: counted) + the worst instant of a step
(``profiles.activations``), an instants-max and not a sum over everything that ever lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profiles.activations import Shape, peak
from profiles.model import ModelProfile

PRECISION_BYTES = {"fp32": 4.0, "bf16": 2.0}
# Interpreter, torch, transformers and peft resident in the host's memory before the first tensor: measured 0.6 to
# 0.8 GB with the CPU wheel of torch 2.13.
HOST_RUNTIME_BYTES = 900_000_000
# A CUDA context with the workspaces of cuBLAS and cuDNN; published values lie between 0.4 and 0.7 GB, and it is the
# whole residual of the better estimators.
DEVICE_RUNTIME_BYTES = 700_000_000
# Allocators round and leave holes, mostly where tensors come and go: reserved ÷ allocated is at most 1.05 on a GPU
# with expandable segments.
_MARGIN_STAYING = 0.02
_MARGIN_PASSING = 0.08
# Of a family whose activations were never measured.
_MARGIN_UNTESTED = 0.3
# Bytes a weight of the export formats, with the scales of their blocks (ggml's block sizes).
_FORMAT_BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.0625, "q6_k": 0.83, "q5_k_m": 0.72, "q5_k_s": 0.7, "q5_0": 0.69,
    "q4_k_m": 0.61, "q4_k_s": 0.58, "q4_0": 0.57, "iq4_xs": 0.54, "q3_k_m": 0.49, "q2_k": 0.4,
}  # fmt: skip


def trainable_parameters(model: ModelProfile, adapter: str, rank: int) -> int:
    """How many parameters get a gradient. LoRA: Σ r (inputs + outputs) over the wrapped matrices."""
    return model.parameters if adapter == "full" else rank * model.lora_width


def memory_parts(model: ModelProfile, shape: Shape) -> dict[str, int]:
    """Bytes of each part on the training device at the worst instant.

    Trained weights are fp32 and AdamW holds two fp32 values for each; gradients count throughout, because they
    wait while the next micro-batch is computed.
    """
    trained = trainable_parameters(model, shape.adapter, shape.rank)
    instant = peak(model, shape)
    staying = {
        "weights": int(model.parameters * (4.0 if shape.full else PRECISION_BYTES[shape.precision])),
        "adapter": 0 if shape.full else 4 * trained,
        "gradients": 4 * trained,
        "optimizer": 8 * trained,
    }
    worst = "logits" if instant.logits >= instant.backward else "backward"
    passing = {
        "activations": instant.activations,
        "casts": instant.casts,
        worst: max(instant.logits, instant.backward),
    }
    if instant.embedding > sum(passing.values()):
        passing = {"embedding": instant.embedding}
    share = _MARGIN_PASSING if model.tested else _MARGIN_UNTESTED
    margin = int(_MARGIN_STAYING * sum(staying.values()) + share * sum(passing.values()))
    runtime = 0 if shape.on_cpu else DEVICE_RUNTIME_BYTES
    return staying | passing | {"runtime": runtime, "margin": margin}


def device_bytes(parts: dict[str, int]) -> int:
    """The peak on the device."""
    return sum(parts.values())


def peak_bytes(model: ModelProfile, shape: Shape) -> int:
    """The peak on the device, from the shape."""
    return device_bytes(memory_parts(model, shape))


def as_plan_memory(parts: dict[str, int], *, on_cpu: bool, disk: dict[str, int]) -> dict[str, Any]:
    """The ``memory`` object of ``luthier.plan/1``; on a CPU the device's memory is the host's.

    With a GPU the weights pass through the host's memory once, while they are loaded.
    """
    total = device_bytes(parts)
    host = HOST_RUNTIME_BYTES + (total if on_cpu else parts["weights"])
    return {
        "device_bytes": total,
        "host_bytes": host,
        "disk_bytes": sum(disk.values()),
        "parts": {name: size for name, size in parts.items() if size},
        "disk_parts": disk,
    }


def disk_parts(model: ModelProfile, adapter: str, rank: int, *, keep: int, formats: Sequence[str]) -> dict[str, int]:
    """Bytes that a job writes: checkpoints kept and the one being written, the trained model, and its exports.

    A checkpoint holds the trained weights and both states of AdamW in fp32. An export starts from a merged model in
    the precision of the base; a quantised file is made from an f16 one, which is there until it is done.
    """
    trained = trainable_parameters(model, adapter, rank)
    kinds = [name.partition(":")[2] for name in formats]
    files = sum(_FORMAT_BYTES.get(kind, 4.0) for kind in kinds)
    between = 0.0 if not kinds or "f16" in kinds else 2.0
    return {
        "checkpoints": 12 * trained * (keep + 1),
        "trained": 4 * trained,
        "merged": model.weight_bytes,
        "exports": int(model.parameters * (files + between)),
    }
