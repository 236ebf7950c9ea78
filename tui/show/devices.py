"""A device in a line or in a panel."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from appliance.text import bytes_text
from tui.show.words import bar, gauge, one_line, percent, sparkline
from tui.world import Thing, World, number, share


def device_key(device: Thing) -> str:
    """What a device is known by."""
    return str(device.get("uuid") or device.get("name"))


def used_memory(device: Thing) -> tuple[float | None, float | None]:
    """Bytes in use and in all."""
    total, free = number(device.get("memory_total_bytes")), number(device.get("memory_free_bytes"))
    return (None if total is None or free is None else max(0.0, total - free)), total


def strip(world: World, width: int) -> Content:
    """Every device in two lines."""
    lines: list[Content] = []
    for device in world.devices:
        used, total = used_memory(device)
        busy = share(device.get("utilization"))
        room = max(4, min(20, width - 24))
        title = one_line(device.get("name"), width - 10)
        heat = number(device.get("temperature_celsius"))
        lines.append(Content.assemble((title, "bold"), (f"  {heat:.0f} °C" if heat is not None else "", "$quiet")))
        lines.append(Content.assemble(("  load   ", "$quiet"), bar(busy, room), f" {percent(busy)}"))
        part = used / total if used is not None and total else None
        lines.append(Content.assemble(("  memory ", "$quiet"), gauge(part, room), f" {_short(used, total)}"))
    return Content("\n").join(lines)


def _short(used: float | None, total: float | None) -> str:
    """Both sizes with one unit."""
    if used is None or total is None:
        return bytes_text(total)
    return f"{used / 1e9:.1f}/{bytes_text(total)}" if total >= 1e9 else f"{bytes_text(used)}/{bytes_text(total)}"


def panel(device: Thing, busy: Sequence[float], width: int, holder: str) -> Content:
    """One device: load with its past, memory, heat, power, and who has it."""
    used, total = used_memory(device)
    part = used / total if used is not None and total else None
    load = share(device.get("utilization"))
    room = max(6, min(32, width - 40))
    heat, power = number(device.get("temperature_celsius")), number(device.get("power_watts"))
    past = sparkline(busy, max(8, min(60, width - 12)), low=0.0, high=1.0)
    facts = [str(device.get("kind") or ""), str(device.get("backend") or "")]
    facts += [f"{heat:.0f} °C"] if heat is not None else []
    facts += [f"{power:.0f} W"] if power is not None else []
    lines = [
        Content.assemble(("load    ", "$quiet"), bar(load, room), f" {percent(load)}"),
        Content.assemble(("        ", ""), (past, "$primary")),
        Content.assemble(("memory  ", "$quiet"), gauge(part, room), f" {_of(used, total)}"),
        Content.assemble(("is      ", "$quiet"), one_line(" · ".join(fact for fact in dict.fromkeys(facts) if fact))),
        Content.assemble(("busy    ", "$quiet"), holder or "free"),
    ]
    return Content("\n").join(lines)


def _of(used: float | None, total: float | None) -> str:
    return f"{bytes_text(used)} of {bytes_text(total)}"
