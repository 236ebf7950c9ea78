"""Devices: load, memory, heat and power, and who has each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from tui.keys import bindings_of
from tui.screens.room import Room
from tui.show.devices import device_key, panel
from tui.show.words import one_line
from tui.widgets.panel import Panel
from tui.world import Thing, World


class DevicesScreen(Room):
    """Each device with its recent past."""

    ROOM = "devices"
    LISTS = False
    BINDINGS = bindings_of("devices")

    def furnish(self) -> Sequence[Widget]:
        return (Panel(id="machine", title="Devices"),)

    def show(self, world: World) -> None:
        box = self.query_one("#machine", Panel)
        if not world.devices:
            words = "No device is known." if world.read else "Waiting for the daemon."
            box.show(Content.styled(words, "$quiet"))
            return
        blocks = [
            Content.styled(one_line(device.get("name"), box.room), "bold $accent")
            + Content("\n")
            + panel(device, world.busy.get(device_key(device), ()), box.room, _holder(device, world))
            for device in world.devices
        ]
        box.show(Content("\n\n").join(blocks))


def _holder(device: Thing, world: World) -> str:
    """Who has the device, by the name a person gave."""
    held = device.get("busy_with")
    ids = held if isinstance(held, list) else [held] if held else []
    names = []
    for id_ in ids:
        job = world.jobs.get(str(id_))
        names.append(f"{job.get('kind')} of {job.get('name')}" if job else str(id_))
    return one_line(", ".join(names))
