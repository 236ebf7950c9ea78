"""The keys, made from the table they are bound by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen

from tui.commands import COMMANDS
from tui.keys import EVERYWHERE, LISTS, TITLES, Action, actions_of
from tui.show.words import lines_of
from tui.widgets.panel import Panel
from tui.widgets.title import entitle

_LEGEND = "▶ running · ○ queued · ◌ blocked · ‖ paused · ↻ interrupted · ✔ succeeded · ✖ failed · – cancelled"
_CLOSING = "Closing the dashboard stops nothing. Shift and drag selects text in most terminals."


class HelpScreen(ModalScreen[None]):
    """The keys of one room first, then those that work everywhere, then what can be typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1", "dismiss", "close", show=False)]

    def __init__(self, room: str = "home") -> None:
        super().__init__()
        self._room = room

    def compose(self) -> ComposeResult:
        yield Panel(id="help", title="Help")

    def on_mount(self) -> None:
        panel = self.query_one(Panel)
        entitle(panel, "Help", "j k scroll · esc closes")
        panel.focus()
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        panel = self.query_one(Panel)
        panel.show(help_text(self._room, panel.room))

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)


def help_text(room: str, width: int) -> Content:
    """The help page of one room."""
    blocks = [
        _block(f"On this screen: {TITLES.get(room, room)}", actions_of(room), width),
        _block("Everywhere", actions_of(EVERYWHERE), width),
        _block("In lists and boxes", actions_of(LISTS), width),
        Content("\n").join([Content.styled("After :", "bold $accent"), *map(_command, COMMANDS)]),
        Content.styled("\n".join(lines_of(_LEGEND, width, 3) + lines_of(_CLOSING, width, 3)), "$quiet"),
    ]
    return Content("\n\n").join(block for block in blocks if block)


def _block(title: str, actions: Sequence[Action], width: int) -> Content:
    lines = [Content.styled(title, "bold $accent")]
    for action in actions:
        first, *more = lines_of(action.help, width - 11, 3)
        lines.append(Content.assemble((f"  {action.shown:<9}", "$primary"), first))
        lines += [Content(" " * 11 + line) for line in more]
    return Content("\n").join(lines) if actions else Content("")


def _command(name: str) -> Content:
    needs, does = COMMANDS[name]
    return Content.assemble((f"  :{name + (' NAME' if needs else ''):<14}", "$primary"), does)
