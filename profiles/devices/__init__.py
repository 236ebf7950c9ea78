"""Probes of the devices of this machine. An absent driver is an empty list, never an exception."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from appliance.registry import Entry, Registry

DEVICES = Registry(
    "device backend",
    {
        "nvml": Entry("profiles.devices.nvml:read", "NVIDIA GPUs, through NVML", ("pynvml",)),
        "cpu": Entry("profiles.devices.cpu:read", "The processor and host memory", ("psutil",)),
        "fake": Entry("profiles.devices.fake:read", "A simulated machine: fake:2x24GB, fake:RTX4090,host=64GB"),
    },
)


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process that holds memory of a GPU."""

    pid: int
    name: str | None
    memory_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Device:
    """One GPU, or the CPU, as read once. What cannot be read is None."""

    name: str
    kind: str
    """``gpu``, ``cpu``, or ``unusable``: a GPU that ``state`` says is gone."""
    backend: str
    index: int = 0
    state: str = "ok"
    """``ok``, ``lost`` (it fell off the bus or waits for a reset) or ``unreadable``."""
    uuid: str | None = None
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    utilization: float | None = None
    """Share of the time it was busy, 0 to 1."""
    temperature_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    capability: tuple[int, int] | None = None
    """CUDA compute capability; bf16 arithmetic needs (8, 0)."""
    cores: int | None = None
    bf16: bool = False
    """Whether a processor has instructions for bf16."""
    ecc: bool | None = None
    ecc_errors: int | None = None
    """Uncorrected errors of memory since the driver was loaded."""
    mig: bool | None = None
    """Whether the GPU is cut into instances."""
    clock_mhz: int | None = None
    clock_max_mhz: int | None = None
    throttle: tuple[str, ...] | None = None
    """What slows it down now; empty where nothing does."""
    energy_joules: float | None = None
    """A counter since the driver was loaded."""
    pcie_generation: int | None = None
    pcie_width: int | None = None
    nvlinks: int | None = None
    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver can run."""
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    processes: tuple[Process, ...] = ()
    """Who holds memory of it, as far as that can be seen."""

    @property
    def torch_name(self) -> str:
        """The name the worker gives torch; a simulated GPU computes on the processor."""
        return "cpu" if self.kind == "cpu" or self.backend == "fake" else f"cuda:{self.index}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"id": "cpu" if self.kind == "cpu" else f"gpu{self.index}"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The devices of one machine with its host memory and disk."""

    devices: tuple[Device, ...]
    host_total_bytes: int
    host_free_bytes: int
    disk_free_bytes: int | None = None

    @property
    def gpus(self) -> tuple[Device, ...]:
        """Those that can be used."""
        return tuple(device for device in self.devices if device.kind == "gpu")

    @property
    def cpu(self) -> Device:
        return next(device for device in self.devices if device.kind == "cpu")


def read_devices(environ: Mapping[str, str] | None = None) -> tuple[Device, ...]:
    """Every device: GPUs first, then the CPU. ``LUTHIER_DEVICES=fake:2x24GB`` simulates, ``cpu`` hides the GPUs."""
    wanted = (os.environ if environ is None else environ).get("LUTHIER_DEVICES", "")
    if wanted.startswith("fake:"):
        devices: tuple[Device, ...] = DEVICES.load("fake")(wanted)
        return devices
    found: list[Device] = []
    for name in ("nvml", "cpu"):
        if wanted in ("", name) or name == "cpu":
            found += DEVICES.load(name)() if not DEVICES[name].missing else ()
    return tuple(found)


def read_machine(environ: Mapping[str, str] | None = None, *, folder: str = "/") -> Machine:
    """This machine, or the one that ``LUTHIER_DEVICES`` describes; ``folder`` is where jobs are written."""
    devices = read_devices(environ)
    cpu = next(device for device in devices if device.kind == "cpu")
    try:
        statistics = os.statvfs(folder)
        disk: int | None = statistics.f_bavail * statistics.f_frsize
    except OSError:
        disk = None
    return Machine(
        devices=devices,
        host_total_bytes=cpu.memory_total_bytes or 0,
        host_free_bytes=cpu.memory_free_bytes or 0,
        disk_free_bytes=disk,
    )
