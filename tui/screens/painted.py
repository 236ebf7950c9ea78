"""A screen that is painted from the feed's world, at most four times a second."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from tui.feed import Feed
from tui.messages import WorldChanged
from tui.world import World

if TYPE_CHECKING:
    from tui.app import LuthierApp

# Seconds between two paintings: faster than this nobody reads, and a terminal over SSH does not keep up.
_PAINT_SECONDS = 0.25


class Painted(Screen[None]):
    """Listens to the feed while it exists, and paints while it is seen."""

    def __init__(self) -> None:
        super().__init__()
        self._painted_at = 0.0
        self._paint_due = False

    @property
    def luthier(self) -> LuthierApp:
        return cast("LuthierApp", self.app)

    @property
    def feed(self) -> Feed:
        return self.luthier.feed

    @property
    def world(self) -> World:
        return self.feed.world

    def paint(self, world: World) -> None:
        """Show the world as it is now."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.feed.listen(self)
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self.repaint)

    def on_unmount(self) -> None:
        self.feed.ignore(self)

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.repaint)

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    def on_world_changed(self, message: WorldChanged) -> None:
        if self._paint_due or not self.is_current:
            return
        wait = self._painted_at + _PAINT_SECONDS - monotonic()
        if wait <= 0:
            self.repaint()
        else:
            self._paint_due = True
            self.set_timer(wait, self.repaint)

    def repaint(self) -> None:
        """Paint from the newest world."""
        self._paint_due = False
        if self.is_mounted and self.is_attached:
            self._painted_at = monotonic()
            self.paint(self.world)

    def _tick(self) -> None:
        """The clock goes on, and so do times that are told as durations."""
        if self.is_current:
            self.repaint()
