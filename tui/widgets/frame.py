"""What surrounds every room: the bar on top, the banner when the daemon is gone, the keys below, the ticker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.widgets import Static

from tui.groups import groups_of, progress_of
from tui.keys import MAIN_ROOMS, TITLES, Action
from tui.show.words import clock, eta, one_line, percent, state_glyph
from tui.world import LinkState, World

_LINKS = {LinkState.LIVE: ("●", "$success"), LinkState.CONNECTING: ("◌", "$warning"), LinkState.LOST: ("✖", "$error")}


class TopBar(Static):
    """Name, rooms, connection and clock, in one line."""

    def show(self, room: str, world: World, now: datetime) -> None:
        glyph, colour = _LINKS[world.link.state]
        left = Content.assemble((" luthier ", "bold $accent"), *(_tab(name, room) for name in MAIN_ROOMS))
        right = Content.assemble((glyph, colour), f" {world.link.state}  ", (clock(now), "$quiet"), " ")
        self.update(left + Content(" " * max(1, self.size.width - left.cell_length - right.cell_length)) + right)

    async def on_click(self, event: Click) -> None:
        """A click on a room's name goes there."""
        edge = len(" luthier ")
        for name in MAIN_ROOMS:
            edge += _tab(name, "").cell_length
            if len(" luthier ") <= event.x < edge:
                await self.app.run_action(f"app.room('{name}')")
                return


def _tab(name: str, room: str) -> Content:
    digit = MAIN_ROOMS.index(name) + 1
    style = "bold $foreground on $panel" if name == room else "$quiet"
    return Content.styled(f" {digit} {TITLES[name]} ", style)


class Banner(Static):
    """Why the daemon does not answer, when the next try is, and what a person can do."""

    def show(self, world: World, waited: float) -> None:
        link = world.link
        self.display = link.state is LinkState.LOST or (link.state is LinkState.CONNECTING and not world.read)
        self.set_class(link.state is LinkState.LOST, "-lost")
        if not self.display:
            return
        room = max(20, self.size.width or self.app.size.width) - 2
        if link.state is LinkState.CONNECTING:
            self.update(Content(f" ◌ {one_line(link.reason, room)}…"))
            return
        left = max(0.0, (link.retry_seconds or 0.0) - waited)
        retry = f"next try in {left:.0f} s · R tries now and starts it"
        stale = " · what you see is old" if world.read else ""
        second = Content.styled(f"   {one_line(retry + stale, room - 2)}", "$foreground")
        self.update(Content.assemble((f" ✖ {one_line(link.reason, room - 2)}", "bold"), "\n", second))


class KeyBar(Static):
    """The keys of this room, from the table; what has no room is left to the help page."""

    def show(self, actions: Sequence[Action]) -> None:
        self.update(keys_line(actions, self.size.width or self.app.size.width))


def keys_line(actions: Sequence[Action], width: int) -> Content:
    """As many keys as fit; ``?`` and ``q`` always do."""
    kept = [action for action in actions if action.shown in ("?", "q")]
    others = [action for action in actions if action not in kept]
    used = 1 + sum(_cells(action) for action in kept)
    shown: list[Action] = []
    for action in others:
        if used + _cells(action) <= width:
            used += _cells(action)
            shown.append(action)
    pieces = [
        Content.assemble((action.shown, "$primary"), (f" {action.label}  ", "$quiet")) for action in (*shown, *kept)
    ]
    return Content(" ") + Content("").join(pieces)


def _cells(action: Action) -> int:
    return cell_len(action.shown) + cell_len(action.label) + 3


class Ticker(Static):
    """All there is room for in a tiny terminal: one line."""

    def show(self, world: World, now: datetime) -> None:
        self.update(ticker_line(world, self.app.size.width, now))


def ticker_line(world: World, width: int, now: datetime) -> Content:
    """The first running tune, how many wait, and the connection."""
    if world.link.state is not LinkState.LIVE:
        return Content.styled(one_line(f"✖ {world.link.reason}", width), "$error")
    groups = groups_of(world)
    active = [group for group in groups if group.state == "running"]
    waiting = sum(group.state in ("queued", "paused") for group in groups)
    tail = f" +{waiting} wait" if waiting else ""
    if not active:
        return Content.styled(one_line(f"● nothing runs{tail}", width), "$quiet")
    job = active[0].current
    progress = progress_of(job, world.live_of(str(job.get("id"))))
    words = f" {one_line(active[0].name, 14)} {job.get('kind')} {percent(progress.share).strip()}"
    if progress.eta_seconds is not None:
        words += f" ETA {eta(progress.eta_seconds, now).split(' (')[0]}"
    return Content.assemble(state_glyph(job.get("state")), " ", one_line(words + tail, width - 3))
