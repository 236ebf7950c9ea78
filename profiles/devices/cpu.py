"""The processor and the host's memory, through psutil."""

from __future__ import annotations

from pathlib import Path

import psutil

from profiles.devices import Device


def read() -> tuple[Device, ...]:
    """The one CPU device of this machine."""
    memory, swap, processor = psutil.virtual_memory(), _swap(), _processor()
    return (
        Device(
            name=processor.get("model name") or "CPU",
            kind="cpu",
            backend="cpu",
            memory_total_bytes=int(memory.total),
            memory_free_bytes=int(memory.available),
            utilization=psutil.cpu_percent(interval=None) / 100,
            cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
            swap_total_bytes=swap[0],
            swap_free_bytes=swap[1],
            bf16=bool({"avx512_bf16", "amx_bf16", "bf16"} & set(processor.get("flags", "").split())),
        ),
    )


def _swap() -> tuple[int | None, int | None]:
    """Total and free bytes; None in a container that hides them."""
    try:
        found = psutil.swap_memory()
    except (OSError, RuntimeError):
        return None, None
    return int(found.total), int(found.free)


def _processor() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
