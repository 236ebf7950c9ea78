"""A simulated machine, for tests, demonstrations, and planning for hardware one does not own.

``fake:2x24GB`` · ``fake:RTX4090`` · ``fake:8xA100-80GB,host=512GB``; the host has 32 GiB unless told.
"""

from __future__ import annotations

import math
import re
import time
from typing import Any

from appliance.errors import UsageError
from profiles.catalogue import find_gpu, gpu_names
from profiles.devices import Device

_PART = re.compile(r"(?:(\d+)x)?(.+)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*G(i?)B", re.IGNORECASE)
_HOST_DEFAULT = 32 * 2**30
_PERIOD_S = 90.0


def read(description: str, *, seconds: float | None = None) -> tuple[Device, ...]:
    """The devices of ``fake:…`` as they are at ``seconds`` of the clock, without it now.

    Raises ``UsageError`` for a description nobody can read.
    """
    seconds = time.monotonic() if seconds is None else seconds
    parts = description.removeprefix("fake:").split(",")
    host = _HOST_DEFAULT
    gpus: list[Device] = []
    for part in parts:
        key, _, value = part.partition("=")
        if key == "host" and (size := _bytes(value)):
            host = size
        elif value or not part:
            raise _unreadable(description)
        else:
            gpus += _gpus(part, len(gpus), description, seconds)
    cpu = Device(
        name="Simulated CPU",
        kind="cpu",
        backend="fake",
        memory_total_bytes=host,
        memory_free_bytes=int(host * 0.9),
        utilization=0.1,
        cores=16,
    )
    return (*gpus, cpu)


def _gpus(part: str, first: int, description: str, seconds: float) -> list[Device]:
    match = _PART.fullmatch(part)
    count, name = (int(match[1] or 1), match[2]) if match else (0, "")
    known = find_gpu(name)
    size = known.memory_bytes if known else _bytes(name)
    if not size or not 1 <= count <= 64:
        raise _unreadable(description)
    return [
        Device(
            name=known.name if known else f"Simulated GPU {name}",
            kind="gpu",
            backend="fake",
            index=index,
            uuid=f"GPU-fake-{index}",
            memory_total_bytes=size,
            memory_free_bytes=size - 500_000_000,
            capability=known.capability if known else (8, 0),
            driver="simulated",
            ecc=False,
            mig=False,
            pcie_generation=4,
            pcie_width=16,
            **_telemetry(index, known.power_watts if known else 300.0, seconds),
        )
        for index in range(first, first + count)
    ]


def _telemetry(index: int, limit: float, seconds: float) -> dict[str, Any]:
    """Load, heat and power as of a GPU at work: slow waves, the same at the same moment, another for every GPU."""
    wave = 0.5 + 0.5 * math.sin(2 * math.pi * seconds / _PERIOD_S + index)
    busy = round(0.05 + 0.9 * wave, 2)
    power = 0.1 * limit + 0.85 * limit * busy
    return {
        "utilization": busy,
        "temperature_celsius": float(round(38 + 42 * busy)),
        "power_watts": round(power, 1),
        "power_limit_watts": limit,
        "energy_joules": round(0.5 * limit * seconds, 1),
        "clock_mhz": round(600 + 1200 * busy),
        "clock_max_mhz": 1800,
        "throttle": ("power cap",) if busy > 0.94 else (),
    }


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip())
    return int(float(match[1]) * (2**30 if match[2] else 10**9)) if match else None


def _unreadable(description: str) -> UsageError:
    return UsageError(
        f"'{description}' does not describe a machine.",
        hint=f"Write fake:2x24GB, fake:RTX4090 or fake:8xA100-80GB,host=512GB. Known GPUs: {', '.join(gpu_names())}.",
    )
