"""How long a training job takes, from arithmetic and the class of the device. An estimate before the first step.

Floating-point operations a token: 6 N for full fine-tuning, 4 N when the base is frozen (no weight gradients),
one more forward pass (2 N) with gradient checkpointing; Kaplan et al. 2020 (arXiv:2001.08361), appendix B.
"""

from __future__ import annotations

from profiles.catalogue import find_gpu
from profiles.devices import Device
from profiles.model import ModelProfile

# What torch reaches in fp32 on one core of a recent server CPU with matrices of this size, operations a second.
_CPU_CORE_FLOPS = 2.2e10
# Share of a GPU's peak that a Hugging Face model reaches in training.
_GPU_SHARE = 0.30
_GPU_DEFAULT_FLOPS = 5e13
# fp32 without tensor cores, of the peak in bf16 or fp16: an eighth on a T4 and a V100 (data sheets).
_FP32_SHARE = 0.125
# Python, dispatch and optimizer for each step, in seconds, and start-up with its imports.
_STEP_OVERHEAD = {"cpu": 0.03, "gpu": 0.05}
_STARTUP_S = 8.0


def flops_per_token(model: ModelProfile, adapter: str, *, checkpointing: bool) -> float:
    """Operations one token costs in training; embeddings only look up, but a tied one is also the output matrix."""
    counted = model.active_parameters - (0 if model.tied_embeddings else model.embedding_parameters // 2)
    factor = 6.0 if adapter == "full" else 4.0
    return counted * (factor + (2.0 if checkpointing else 0.0))


def device_flops(device: Device, precision: str) -> float:
    """Sustained operations a second expected of a device."""
    if device.kind == "cpu":
        return _CPU_CORE_FLOPS * (device.cores or 1)
    known = find_gpu(device.name)
    peak = known.bf16_flops if known else _GPU_DEFAULT_FLOPS
    return peak * _GPU_SHARE * (_FP32_SHARE if precision == "fp32" else 1.0)


def training_seconds(device: Device, *, flops: float, precision: str, steps: int, micro_steps: int) -> dict[str, float]:
    """Low, expected and high duration; the interval is wide because nothing was measured yet."""
    overhead = _STEP_OVERHEAD[device.kind] * micro_steps
    expected = _STARTUP_S + flops / device_flops(device, precision) + overhead + 0.002 * steps
    return {"low": round(expected * 0.5, 1), "expected": round(expected, 1), "high": round(expected * 2.5, 1)}
