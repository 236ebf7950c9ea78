"""NVIDIA GPUs through NVML. Every reading may fail alone: a lost GPU is a state, an old driver gives None."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pynvml

from profiles.devices import Device, Process

# Bits of nvmlClocksEventReasons that slow a GPU down; being idle or having a clock set is not among them.
_THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}
_PROCESSES_MAX = 32
# A GPU that fell off the bus, and one that waits for a reset after an error.
_LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


def read() -> tuple[Device, ...]:
    """The GPUs NVML can see; none when there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        driver = _text(_reading("nvmlSystemGetDriverVersion"))
        system = Device(name="GPU", kind="gpu", backend="nvml", driver=driver, cuda=_cuda())
        return tuple(_device(index, system) for index in range(_reading("nvmlDeviceGetCount") or 0))
    finally:
        pynvml.nvmlShutdown()


def _device(index: int, system: Device) -> Device:
    """One GPU; ``system`` has what is the same for all."""
    bare = replace(system, name=f"GPU {index}", index=index)
    handle = None
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    except pynvml.NVMLError as error:
        if error.value in _LOST:
            return replace(bare, kind="unusable", state="lost")
        if handle is None:
            return replace(bare, kind="unusable", state="unreadable")
    readings = _memory(handle) | _heat_and_power(handle) | _abilities(handle) | _link(handle)
    return replace(
        bare,
        name=_text(_reading("nvmlDeviceGetName", handle)) or bare.name,
        uuid=_text(_reading("nvmlDeviceGetUUID", handle)),
        processes=tuple(_processes(handle)),
        **readings,
    )


def _memory(handle: Any) -> dict[str, Any]:
    memory = _reading("nvmlDeviceGetMemoryInfo", handle)
    ecc = _reading("nvmlDeviceGetEccMode", handle)
    uncorrected, volatile = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    return {
        "memory_total_bytes": int(memory.total) if memory else None,
        "memory_free_bytes": int(memory.free) if memory else None,
        "ecc": bool(ecc[0]) if ecc else None,
        "ecc_errors": _reading("nvmlDeviceGetTotalEccErrors", handle, uncorrected, volatile),
    }


def _heat_and_power(handle: Any) -> dict[str, Any]:
    power, limit = _reading("nvmlDeviceGetPowerUsage", handle), _reading("nvmlDeviceGetEnforcedPowerLimit", handle)
    rates = _reading("nvmlDeviceGetUtilizationRates", handle)
    energy = _reading("nvmlDeviceGetTotalEnergyConsumption", handle)
    reasons = _reading("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:  # its name before driver 535
        reasons = _reading("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return {
        "utilization": rates.gpu / 100 if rates else None,
        "temperature_celsius": _reading("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU),
        "power_watts": power / 1000 if power is not None else None,
        "power_limit_watts": limit / 1000 if limit is not None else None,
        "energy_joules": energy / 1000 if energy is not None else None,
        "clock_mhz": _reading("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_SM),
        "clock_max_mhz": _reading("nvmlDeviceGetMaxClockInfo", handle, pynvml.NVML_CLOCK_SM),
        "throttle": None if reasons is None else tuple(word for bit, word in _THROTTLES.items() if reasons & bit),
    }


def _abilities(handle: Any) -> dict[str, Any]:
    capability, mig = _reading("nvmlDeviceGetCudaComputeCapability", handle), _reading("nvmlDeviceGetMigMode", handle)
    return {
        "capability": (int(capability[0]), int(capability[1])) if capability else None,
        "mig": bool(mig[0]) if mig else None,
    }


def _link(handle: Any) -> dict[str, Any]:
    """The PCIe link as it is now, and how many NVLinks are up; links are asked until the GPU has no more."""
    lanes = [_reading("nvmlDeviceGetNvLinkState", handle, number) for number in range(18)]
    return {
        "pcie_generation": _reading("nvmlDeviceGetCurrPcieLinkGeneration", handle),
        "pcie_width": _reading("nvmlDeviceGetCurrPcieLinkWidth", handle),
        "nvlinks": sum(map(bool, lanes)) if any(lane is not None for lane in lanes) else None,
    }


def _processes(handle: Any) -> Iterator[Process]:
    """Who uses the memory, as far as this person may see it."""
    for used in (_reading("nvmlDeviceGetComputeRunningProcesses", handle) or [])[:_PROCESSES_MAX]:
        name = _text(_reading("nvmlSystemGetProcessName", used.pid))
        size = used.usedGpuMemory
        yield Process(pid=int(used.pid), name=name, memory_bytes=int(size) if size is not None else None)


def _cuda() -> str | None:
    """The newest CUDA this driver can run, such as 12.8."""
    number = _reading("nvmlSystemGetCudaDriverVersion")
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if value else None


def _reading(name: str, *arguments: Any) -> Any:
    """One answer of NVML, None where this GPU, this driver or this binding has none."""
    ask = getattr(pynvml, name, None)
    if ask is None:
        return None
    try:
        return ask(*arguments)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None
