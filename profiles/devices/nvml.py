"""NVIDIA GPUs through NVML. Every reading may fail alone: a lost GPU or an old driver gives None, not an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

from profiles.devices import Device


def read() -> tuple[Device, ...]:
    """The GPUs NVML can see; none when there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        count = _reading(pynvml.nvmlDeviceGetCount) or 0
        return tuple(device for index in range(count) if (device := _device(index)) is not None)
    finally:
        pynvml.nvmlShutdown()


def _device(index: int) -> Device | None:
    handle = _reading(pynvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return None
    memory = _reading(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _reading(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _reading(pynvml.nvmlDeviceGetPowerUsage, handle)
    limit = _reading(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    capability = _reading(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    return Device(
        name=str(_reading(pynvml.nvmlDeviceGetName, handle) or f"GPU {index}"),
        kind="gpu",
        backend="nvml",
        index=index,
        uuid=_reading(pynvml.nvmlDeviceGetUUID, handle),
        memory_total_bytes=int(memory.total) if memory else None,
        memory_free_bytes=int(memory.free) if memory else None,
        utilization=rates.gpu / 100 if rates else None,
        temperature_celsius=_reading(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_watts=power / 1000 if power is not None else None,
        power_limit_watts=limit / 1000 if limit is not None else None,
        capability=(int(capability[0]), int(capability[1])) if capability else None,
    )


def _reading(ask: Callable[..., Any], *arguments: Any) -> Any:
    """One answer of NVML, None where this GPU or driver has none."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None
