"""A machine that someone describes: ``fake:2x24GB``, the name of a GPU, or a file.

The file is TOML or JSON, either the output of ``luthier gpu --json`` on that machine or a few lines such as
``host_gb = 64`` and ``[[gpu]]`` tables with ``name = "RTX4090"`` or ``memory_gb = 24``, and ``count``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from appliance.errors import UsageError
from profiles.catalogue import find_gpu, gpu_names
from profiles.devices import Device, Machine
from profiles.devices.fake import read as read_fake

_FILE_MAX = 2**20
_NUMBERS = {"memory_total_bytes", "memory_free_bytes", "power_limit_watts", "cores", "index"}
_TEXTS = {"name", "kind", "uuid"}


def describe_machine(text: str) -> Machine:
    """The machine of ``--hardware``. Raises ``UsageError`` for what is neither a machine, nor a file, nor a GPU."""
    if text.startswith("fake:"):
        return _machine(read_fake(text))
    path = Path(text).expanduser()
    if path.is_file():
        return _machine(_from_file(path))
    if find_gpu(text.partition(",")[0]) is not None:
        return _machine(read_fake(f"fake:{text}"))
    near = get_close_matches(text, gpu_names(), 1, 0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"'{text}' is no file and no GPU of the catalogue.",
        hint=f"{hint}Give fake:2x24GB,host=64GB, a file, or one of {', '.join(gpu_names())}.",
    )


def _machine(devices: tuple[Device, ...]) -> Machine:
    """What it would be: its GPUs would compute, and nothing is known of its disk."""
    described = tuple(replace(device, backend="described") for device in devices)
    cpu = next(device for device in described if device.kind == "cpu")
    return Machine(
        devices=described, host_total_bytes=cpu.memory_total_bytes or 0, host_free_bytes=cpu.memory_free_bytes or 0
    )


def _from_file(path: Path) -> tuple[Device, ...]:
    try:
        if path.stat().st_size > _FILE_MAX:
            raise ValueError(f"it is larger than {_FILE_MAX} bytes")
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("it holds no table")
        if isinstance(value.get("items"), list):
            return _from_items(value["items"])
        return read_fake(_sentence(value))
    except (ValueError, OSError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} does not describe a machine: {error}.",
            hint='Write host_gb = 64 and a [[gpu]] table with name = "RTX4090" or memory_gb = 24, '
            "or give the output of `luthier gpu --json`.",
            where=str(path),
        ) from error


def _sentence(value: Mapping[str, Any]) -> str:
    """The tables of a file as ``fake:…``. Raises ``ValueError`` with what is wrong."""
    unknown = sorted(set(value) - {"gpu", "host_gb"})
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not known; it may have host_gb and gpu")
    parts = []
    for gpu in value.get("gpu", []):
        name = gpu.get("name") or f"{float(gpu['memory_gb']):g}GB"
        parts.append(f"{int(gpu.get('count', 1))}x{name}")
    if "host_gb" in value:
        parts.append(f"host={float(value['host_gb']):g}GB")
    return "fake:" + ",".join(parts)


def _from_items(items: list[Any]) -> tuple[Device, ...]:
    """Devices as ``luthier gpu --json`` writes them. Raises ``ValueError``."""
    known = {field.name for field in fields(Device)}
    devices = []
    for item in items:
        values = {key: value for key, value in item.items() if key in known & (_NUMBERS | _TEXTS) and value is not None}
        wrong = [key for key in _NUMBERS & values.keys() if not isinstance(values[key], int | float)]
        if wrong or values.get("kind") not in ("gpu", "cpu") or not isinstance(values.get("name"), str):
            raise ValueError(f"a device in it has a wrong {wrong[0] if wrong else 'name or kind'}")
        pair = item.get("capability")
        if isinstance(pair, list) and len(pair) == 2:
            values["capability"] = (int(pair[0]), int(pair[1]))
        devices.append(Device(**values, backend="described"))
    if sum(device.kind == "cpu" for device in devices) != 1:
        raise ValueError("it must have one device of the kind cpu")
    return tuple(sorted(devices, key=lambda device: device.kind == "cpu"))
