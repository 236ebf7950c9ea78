"""A box of text that scrolls."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.keys import PANELS, bindings_of
from tui.widgets.title import entitle


class Panel(VerticalScroll, inherit_bindings=False):
    """Text in a box with a title; it can stay at its end while text is added."""

    BINDINGS = bindings_of(PANELS)

    def __init__(self, *, id: str, title: str = "", follow: bool = False) -> None:
        super().__init__(id=id)
        entitle(self, title)
        self._follow = follow
        self._at_end = True
        self._text = Static(Content(""), markup=False)
        self._shown = Content("")

    def compose(self) -> ComposeResult:
        yield self._text

    @property
    def room(self) -> int:
        """Cells for one line of text."""
        return max(8, self.scrollable_content_region.width)

    def show(self, content: Content) -> None:
        """Show this text; the place where a person has scrolled to is kept."""
        if content.is_same(self._shown):
            return
        self._shown = content
        self._text.update(content)
        self._stay()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._at_end = new_value >= self.max_scroll_y - 1

    def on_resize(self) -> None:
        self._stay()

    def _stay(self) -> None:
        """Go to the new end, if the end is where a person has left it."""
        if self._follow and self._at_end:
            self.scroll_end(animate=False)
