"""``luthier`` alone: the dashboard on a terminal, a text of its state anywhere else."""

from __future__ import annotations

from appliance.cli.command import Call, Command
from appliance.cli.status import run as run_status
from appliance.launch import become


def run(call: Call) -> int:
    """Become the dashboard, or print the status."""
    if not call.interactive or call.screen.plain or call.screen.as_json:
        return run_status(call)
    return become("tui", *(["--no-start"] if call.no_start else []), settings=call.settings)


COMMAND = Command(about="Open the dashboard.", run=run)
