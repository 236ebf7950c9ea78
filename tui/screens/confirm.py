"""Asks once before something that cannot be taken back."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.show.words import one_line


class Confirm(ModalScreen[bool]):
    """``y`` does it; everything else leaves things as they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes", show=False),
        Binding("n,escape,q,enter", "answer(False)", "no", show=False),
    ]

    def __init__(self, question: str, consequence: str, verb: str) -> None:
        super().__init__()
        self._lines = Content.assemble(
            (one_line(question, 200), "bold"),
            "\n",
            (one_line(consequence, 200), "$quiet"),
            "\n\n",
            ("y", "$error"),
            f" yes, {verb}     ",
            ("esc", "$primary"),
            " no",
        )

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(self._lines, markup=False)

    def action_answer(self, sure: bool) -> None:
        self.dismiss(sure)
