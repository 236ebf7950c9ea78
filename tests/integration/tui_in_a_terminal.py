"""Runs the dashboard in the terminal it was started in, on a daemon in memory whose names are hostile.

Started by ``test_tui_terminal.py`` in a pseudo-terminal; prints what the app said when it was closed.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "unit")]

from tui_daemons import NOW, busy_daemon  # noqa: E402

from tui.app import LuthierApp  # noqa: E402
from tui.feed import Feed  # noqa: E402

PAYLOADS = (
    "\x1b]52;c;UFdORUQ=\x07",
    "\x1b]0;PWNED\x07",
    "\x9b31mPWNED",
    "[@click=app.quit]PWNED[/]",
    "[/nope]",
    "\u202ePWNED",
)


def main() -> None:
    daemon = busy_daemon()
    for at, job in enumerate(daemon.tables["jobs"]):
        job["name"] = f"{job['name']}{PAYLOADS[at % len(PAYLOADS)]}"
        if job["error"]:
            job["error"]["message"] = "".join(PAYLOADS)
    for model in daemon.tables["models"]:
        model["name"] += "".join(PAYLOADS)
    farewell = LuthierApp(Feed(daemon), now=lambda: NOW).run()
    sys.stdout.write(f"{farewell}\n")


if __name__ == "__main__":
    main()
