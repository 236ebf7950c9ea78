"""A list that keeps its cursor on the same thing while everything around it changes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.keys import LISTS, bindings_of
from tui.widgets.title import entitle

Row = tuple[str, Content]


class Listing(OptionList, inherit_bindings=False):
    """Rows by key. ``show`` changes only what changed and never moves the cursor off its thing."""

    BINDINGS = bindings_of(LISTS)
    ALLOW_SELECT = True

    def __init__(self, *, id: str, title: str = "", empty: str = "") -> None:
        super().__init__(id=id, markup=False)
        entitle(self, title)
        self._empty = empty
        self._rows: list[Row] = []
        self._placeholder = Content("")

    @property
    def room(self) -> int:
        """Cells for one line of a row."""
        return max(8, self.scrollable_content_region.width - 2)

    @property
    def selected(self) -> str | None:
        """The key under the cursor; None when the list is empty."""
        option = self.highlighted_option
        return option.id if option and option.id and not option.disabled else None

    def show(self, rows: Sequence[Row], empty: str | Content | None = None) -> None:
        """Show these rows, or what to do when there are none."""
        if not rows:
            words = empty if empty is not None else self._empty
            self._rebuild([("", words if isinstance(words, Content) else Content.styled(words, "$quiet"))], empty=True)
            return
        if [key for key, _ in rows] != [key for key, _ in self._rows]:
            self._rebuild(list(rows), empty=False)
            return
        for (key, content), (_, before) in zip(rows, self._rows, strict=True):
            if not content.is_same(before):
                self.replace_option_prompt(key, content)
        self._rows = list(rows)

    def _rebuild(self, rows: list[Row], *, empty: bool) -> None:
        if empty and self._rows == [] and self.option_count and rows[0][1].is_same(self._placeholder):
            return
        kept = self.selected
        position = self.highlighted
        self._rows = [] if empty else rows
        self.set_class(empty, "-empty")
        if empty:
            self._placeholder = rows[0][1]
        self.set_options([Option(content, id=key or None, disabled=empty) for key, content in rows])
        keys = [key for key, _ in self._rows]
        if keys:
            self.highlighted = keys.index(kept) if kept in keys else min(position or 0, len(keys) - 1)
