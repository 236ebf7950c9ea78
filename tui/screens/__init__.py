"""The rooms of the dashboard: a table of where each lives; a room costs nothing until it is opened."""

from __future__ import annotations

from appliance.registry import Entry, Registry

SCREENS = Registry(
    "screen",
    {
        "home": Entry("tui.screens.home:HomeScreen", "what runs, what waits, what needs you", ("textual",)),
        "jobs": Entry("tui.screens.jobs:JobsScreen", "all jobs", ("textual",)),
        "job": Entry("tui.screens.job:JobScreen", "one job, live", ("textual",)),
        "data": Entry("tui.screens.data:DataScreen", "datasets and what became of each row", ("textual",)),
        "models": Entry("tui.screens.models:ModelsScreen", "models, their scores and files", ("textual",)),
        "chat": Entry("tui.screens.chat:ChatScreen", "talk to a served model", ("textual",)),
        "devices": Entry("tui.screens.devices:DevicesScreen", "the GPUs, or the CPU", ("textual",)),
        "help": Entry("tui.screens.help:HelpScreen", "the keys", ("textual",)),
    },
)
