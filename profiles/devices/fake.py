"""A simulated machine, for tests, demonstrations, and planning for hardware one does not own.

``fake:2x24GB`` · ``fake:RTX4090`` · ``fake:8xA100-80GB,host=512GB``; the host has 32 GiB unless told.
"""

from __future__ import annotations

import re

from appliance.errors import UsageError
from profiles.catalogue import find_gpu, gpu_names
from profiles.devices import Device

_PART = re.compile(r"(?:(\d+)x)?(.+)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*G(i?)B", re.IGNORECASE)
_HOST_DEFAULT = 32 * 2**30


def read(description: str) -> tuple[Device, ...]:
    """The devices of ``fake:…``. Raises ``UsageError`` for a description nobody can read."""
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
            gpus += _gpus(part, len(gpus), description)
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


def _gpus(part: str, first: int, description: str) -> list[Device]:
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
            utilization=0.0,
            temperature_celsius=40.0,
            power_watts=30.0,
            power_limit_watts=known.power_watts if known else 300.0,
            capability=known.capability if known else (8, 0),
        )
        for index in range(first, first + count)
    ]


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip())
    return int(float(match[1]) * (2**30 if match[2] else 10**9)) if match else None


def _unreadable(description: str) -> UsageError:
    return UsageError(
        f"'{description}' does not describe a machine.",
        hint=f"Write fake:2x24GB, fake:RTX4090 or fake:8xA100-80GB,host=512GB. Known GPUs: {', '.join(gpu_names())}.",
    )
