"""``python -m tui``: the dashboard. Refused off a terminal, because Textual would draw to it and never end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from appliance.errors import LuthierError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the dashboard; returns the exit status. ``--no-start`` only looks for a daemon."""
    parser = argparse.ArgumentParser(prog="python -m tui", description="Open the dashboard.")
    parser.add_argument("--no-start", action="store_true", help="do not start a daemon when none runs")
    asked = parser.parse_args(arguments)
    try:
        _check_terminal()
        farewell = _run(start=not asked.no_start)
    except LuthierError as error:
        sys.stderr.write(f"luthier: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_status
    if farewell:
        sys.stderr.write(f"{farewell}\n")
    return 0


def _check_terminal() -> None:
    """Textual draws on stderr and reads stdin; off a terminal it would spin and never end."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream.isatty() for stream in streams) or os.environ.get("TERM") == "dumb":
        raise UsageError(
            "The dashboard needs a terminal that can draw, and this is none.",
            hint="`luthier status` and `luthier job ls` print the same; `--json` prints it for scripts.",
        )


def _run(*, start: bool) -> str | None:
    from appliance.client import Client, ensure_daemon
    from appliance.paths import find_paths
    from appliance.settings import load_settings
    from tui.app import LuthierApp
    from tui.feed import Feed

    paths = find_paths()
    settings = load_settings(paths.config_file)
    feed = Feed(Client(paths), start=(lambda: ensure_daemon(paths, settings)) if start else None)
    return LuthierApp(feed, theme=settings.ui.theme).run()


if __name__ == "__main__":
    sys.exit(main())
