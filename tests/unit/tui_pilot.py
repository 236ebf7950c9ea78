"""What the dashboard's tests share: an app on a daemon in memory, patience without pauses, and the text on screen."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot
from tui_daemons import NOW, MemoryDaemon

from tui.app import LuthierApp
from tui.feed import Feed

SIZES = ((80, 24), (120, 40))
_PATIENCE = 20.0


@asynccontextmanager
async def dashboard(
    daemon: MemoryDaemon, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[Pilot[str]]:
    """The app, once it knows the daemon's world or that there is none."""
    feed = Feed(daemon, device_seconds=0.05, back_off=(0.05,), **options)
    app = LuthierApp(feed, now=lambda: NOW)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: feed.world.read or feed.world.link.state == "lost")
        await pilot.pause()
        yield pilot


async def until(pilot: Pilot[str], condition: Callable[[], object]) -> None:
    """Wait for something to become so; fails with the screen when it does not."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about; the screen:\n{screen(pilot)}"
        await pilot.pause(0.01)


async def shows(pilot: Pilot[str], words: str) -> None:
    """Wait until words stand on the screen."""
    await until(pilot, lambda: words in screen(pilot))


async def told(pilot: Pilot[str], words: str) -> None:
    """Wait until a toast says something; on screen it is wrapped, here it is not."""
    await until(pilot, lambda: any(words in toast.message for toast in pilot.app._notifications))


def screen(pilot: Pilot[str]) -> str:
    """The text on screen, line by line."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def type_(pilot: Pilot[str], words: str) -> None:
    """Press the keys of a text, one after the other."""
    names = {" ": "space", ":": "colon", "/": "slash", "-": "minus", "!": "exclamation_mark"}
    for character in words:
        await pilot.press(names.get(character, character))
