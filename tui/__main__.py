"""``python -m tui``: the dashboard. Refused off a terminal, because Textual would draw to it and never end."""

from __future__ import annotations

import os
import sys

from appliance.errors import LuthierError, UsageError


def main() -> int:
    """Open the dashboard; returns the exit status."""
    try:
        _check_terminal()
        farewell = _run()
    except LuthierError as error:
        sys.stderr.write(f"luthier: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_status
    if farewell:
        sys.stderr.write(f"{farewell}\n")
    return 0


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError(
            "The dashboard needs a terminal that can draw, and this is none.",
            hint="`luthier status` and `luthier job ls` print the same; `--json` prints it for scripts.",
        )


def _run() -> str | None:
    from appliance.client import Client, ensure_daemon
    from appliance.paths import find_paths
    from appliance.settings import load_settings
    from tui.app import LuthierApp
    from tui.feed import Feed

    paths = find_paths()
    settings = load_settings(paths.config_file)
    feed = Feed(Client(paths), start=lambda: ensure_daemon(paths, settings))
    return LuthierApp(feed, theme=settings.ui.theme).run()


if __name__ == "__main__":
    sys.exit(main())
