"""Makes the captures in this folder, and the picture in the README.

python docs/captures/make.py             every room at 80×24 and 120×40, from the tests' busy daemon
python docs/captures/make.py picture JOB docs/dashboard.svg, from a job of the daemon that runs for LUTHIER_HOME
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "unit")]

from test_tui_chat import Endpoint  # noqa: E402
from textual.pilot import Pilot  # noqa: E402
from tui_daemons import busy_daemon  # noqa: E402
from tui_pilot import SIZES, dashboard, screen, shows, until  # noqa: E402

from appliance.client import Client  # noqa: E402
from appliance.paths import find_paths  # noqa: E402
from tui.app import LuthierApp  # noqa: E402
from tui.feed import Feed  # noqa: E402

# Room → the keys that lead there from home, and words that are there when it is painted.
ROOMS = {
    "home": ((), "harbour"),
    "jobs": (("2",), "tickets"),
    "job": (("enter",), "validation"),
    "data": (("3", "j"), "alpaca  "),
    "models": (("4", "j"), "What the base could do"),
    "devices": (("6",), "RTX 4090"),
}
_ANSWER = "Berth four. A red boat that brings fish at night goes to the north quay, and berth four is the one with ice."
_PICTURE = (112, 34)


def write(name: str, size: tuple[int, int], pilot: Pilot[str]) -> None:
    text = "\n".join(line.rstrip() for line in screen(pilot).split("\n"))
    (HERE / f"{name}-{size[0]}x{size[1]}.txt").write_text(text + "\n", encoding="utf-8")


async def captures() -> None:
    for size in SIZES:
        for name, (keys, words) in ROOMS.items():
            async with dashboard(busy_daemon(), size) as pilot:
                await pilot.press(*keys)
                await shows(pilot, words)
                await pilot.pause(0.6)
                write(name, size, pilot)
        await chat(size)


async def chat(size: tuple[int, int]) -> None:
    endpoint = Endpoint()
    endpoint.pieces = re.findall(r"\S+\s*", _ANSWER)
    daemon = busy_daemon()
    daemon.serving = {"base_url": endpoint.url, "state": "ready", "models": ["harbour", "alpaca-tiny"]}
    async with dashboard(daemon, size) as pilot:
        await pilot.press("c")
        await shows(pilot, "● harbour")
        for character in "A red boat with fish comes at night. Which berth?":
            await pilot.press({" ": "space", ".": "full_stop", "?": "question_mark"}.get(character, character))
        await pilot.press("enter")
        await shows(pilot, "tok/s, first after")
        write("chat", size, pilot)
    endpoint.server.shutdown()
    endpoint.server.server_close()


async def picture(job: str) -> None:
    feed = Feed(Client(find_paths()))
    app = LuthierApp(feed)
    async with app.run_test(size=_PICTURE) as pilot:
        await until(pilot, lambda: feed.world.read)
        app._find(job)
        await shows(pilot, "validation")
        await pilot.press("L")
        await pilot.pause(1.5)
        svg = app.export_screenshot(title="luthier")
    # Nothing is fetched by whoever looks at it: the fonts are those they have.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "ui-monospace, DejaVu Sans Mono, Menlo, Consolas")
    (REPOSITORY / "docs" / "dashboard.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(picture(sys.argv[2]) if sys.argv[1:2] == ["picture"] else captures())
