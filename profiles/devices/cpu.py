"""The processor and the host's memory, through psutil."""

from __future__ import annotations

from pathlib import Path

import psutil

from profiles.devices import Device


def read() -> tuple[Device, ...]:
    """The one CPU device of this machine."""
    memory = psutil.virtual_memory()
    return (
        Device(
            name=_name(),
            kind="cpu",
            backend="cpu",
            memory_total_bytes=int(memory.total),
            memory_free_bytes=int(memory.available),
            utilization=psutil.cpu_percent(interval=None) / 100,
            cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        ),
    )


def _name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "CPU"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"
