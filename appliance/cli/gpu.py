"""``luthier gpu``: the devices of this machine, as the daemon sees them, or read here when none runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.cli.child import ask_child
from appliance.cli.command import Call, Command
from appliance.cli.curve import share_text
from appliance.cli.words import listed
from appliance.client import Client
from appliance.text import bytes_text


def run(call: Call) -> int:
    devices = read_devices(call)
    if call.screen.as_json:
        call.screen.value(listed("devices", devices))
        return 0
    columns = ("DEVICE", "NAME", "MEMORY", "FREE", "BUSY", "TEMP", "POWER", "WORKS ON")
    call.screen.table(columns, [_row(device) for device in devices], right=("MEMORY", "FREE", "BUSY", "TEMP", "POWER"))
    if not any(device.get("kind") == "gpu" for device in devices):
        call.screen.say("No GPU that torch can use; models are trained on the processor.")
    return 0


def read_devices(call: Call) -> list[dict[str, Any]]:
    """From the daemon when it runs; otherwise a child reads them, and no daemon is started."""
    if call.daemon_status() is not None:
        with Client(call.paths) as client:
            return client.devices()
    devices: list[dict[str, Any]] = ask_child(call, "profiles", "devices").get("items", [])
    return devices


def device_line(device: Mapping[str, Any]) -> str:
    """One device in a line."""
    parts = [str(device.get("name"))]
    if device.get("memory_free_bytes") is not None:
        free, total = bytes_text(device["memory_free_bytes"]), bytes_text(device.get("memory_total_bytes"))
        parts.append(f"{free} of {total} free")
    if device.get("utilization") is not None:
        parts.append(f"{share_text(device['utilization'])} busy")
    if device.get("busy_with"):
        parts.append(f"works on {device['busy_with']}")
    return ", ".join(parts)


def _row(device: Mapping[str, Any]) -> tuple[object, ...]:
    heat, power, busy = device.get("temperature_celsius"), device.get("power_watts"), device.get("utilization")
    memory = (device.get("memory_total_bytes"), device.get("memory_free_bytes"))
    return (
        device.get("id") or device.get("kind"),
        device.get("name"),
        *(bytes_text(size) if size is not None else None for size in memory),
        share_text(round(busy, 2)) if busy is not None else None,
        f"{heat:.0f} °C" if heat is not None else None,
        f"{power:.0f} W" if power is not None else None,
        device.get("busy_with"),
    )


COMMAND = Command(
    about="The devices of this machine: memory, load, heat, and the job each works on.",
    run=run,
    examples=("luthier gpu", "luthier gpu --json"),
    exits=(0, 2),
)
