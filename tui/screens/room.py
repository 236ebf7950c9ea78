"""What every room is: a frame around its own widgets, a filter and a command line."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from tui.commands import completions
from tui.keys import footer_of
from tui.messages import Done, Refused
from tui.screens.painted import Painted
from tui.widgets.frame import Banner, KeyBar, Ticker, TopBar
from tui.widgets.listing import Listing
from tui.widgets.panel import Panel
from tui.widgets.prompt import Prompt
from tui.world import Link, World


class Room(Painted):
    """A screen with the frame. Subclasses say what is inside (``furnish``) and how it looks now (``show``)."""

    ROOM: ClassVar[str] = ""
    LISTS: ClassVar[bool] = True
    AUTO_FOCUS: ClassVar[str | None] = "Listing, Panel"

    def __init__(self) -> None:
        super().__init__()
        self.query_text = ""
        self._link = Link()
        self._link_since = monotonic()

    @property
    def tab_name(self) -> str:
        """Which of the main rooms is lit in the bar on top."""
        return self.ROOM

    def furnish(self) -> Sequence[Widget]:
        """The room's own widgets."""
        raise NotImplementedError

    def show(self, world: World) -> None:
        """Show the world as it is now in them."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield TopBar(id="top", markup=False)
        yield Banner(id="banner", markup=False)
        yield Container(*self.furnish(), id="body", classes=self.ROOM)
        yield Prompt(lambda: completions(self.world, self.app.available_themes))
        yield KeyBar(id="keys", markup=False)
        yield Ticker(id="ticker", markup=False)

    def paint(self, world: World) -> None:
        now = self.luthier.now()
        if world.link is not self._link:
            self._link, self._link_since = world.link, monotonic()
        self.query_one(TopBar).show(self.tab_name, world, now)
        self.query_one(Banner).show(world, monotonic() - self._link_since)
        self.query_one(KeyBar).show(footer_of(self.ROOM, lists=self.LISTS))
        self.query_one(Ticker).show(world, now)
        self.show(world)

    def on_done(self, message: Done) -> None:
        self.notify(message.sentence, timeout=4, markup=False)

    def on_refused(self, message: Refused) -> None:
        words = f"Could not {message.what}: {message.message}" + (f" {message.hint}" if message.hint else "")
        self.notify(words, severity="error", timeout=10, markup=False)

    def action_filter(self) -> None:
        self.query_one(Prompt).ask("/", self.query_text)

    def action_command(self) -> None:
        self.query_one(Prompt).ask(":")

    def on_prompt_filtered(self, message: Prompt.Filtered) -> None:
        self.filter_by(message.text)

    def on_prompt_commanded(self, message: Prompt.Commanded) -> None:
        self.luthier.run_command(message.text)

    def on_prompt_closed(self) -> None:
        self.take_focus()

    def filter_by(self, text: str) -> None:
        """Show only what a filter lets through."""
        self.query_text = text
        self.repaint()

    def take_focus(self) -> None:
        """Give the keys back to the first list or text of the room."""
        for widget in self.query("#body Listing, #body Panel"):
            if isinstance(widget, Listing | Panel) and widget.focusable:
                widget.focus()
                return
        self.set_focus(None)
