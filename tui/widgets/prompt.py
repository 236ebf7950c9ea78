"""The line at the bottom where a filter (``/``) or a command (``:``) is typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static


class Prompt(Horizontal):
    """Hidden until asked for. It remembers which of the two it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "close", show=False)]

    class Filtered(Message):
        """The filter is another."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Commanded(Message):
        """A command was given."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """The prompt is gone; the room takes the keys again."""

    def __init__(self, words: Callable[[], Iterable[str]]) -> None:
        super().__init__(id="prompt")
        self._sign = Static("", id="sign", markup=False)
        self.input = Input(compact=True, suggester=_Completion(words), select_on_focus=False)

    def compose(self) -> ComposeResult:
        yield self._sign
        yield self.input

    def ask(self, sign: str, value: str = "") -> None:
        """Open as ``/`` or ``:``."""
        self._sign.update(sign)
        self.set_class(sign == "/", "-filter")
        self.input.value = value
        self.input.placeholder = "words · state:failed · !without" if sign == "/" else "jobs · job NAME · why NAME · q"
        self.display = True
        # At once: `focus()` comes a moment later, and keys typed quickly or pasted would land in the room.
        self.screen.set_focus(self.input)
        self.input.cursor_position = len(value)

    def action_dismiss(self) -> None:
        """Close; a filter is taken off."""
        if self.has_class("-filter"):
            self.post_message(self.Filtered(""))
        self._leave()

    def _leave(self) -> None:
        self.display = False
        self.post_message(self.Closed())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.has_class("-filter") and self.display:
            self.post_message(self.Filtered(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self.has_class("-filter"):
            self.post_message(self.Commanded(event.value))
        self._leave()


class _Completion(Suggester):
    """Completes the word that is being typed, in a command."""

    def __init__(self, words: Callable[[], Iterable[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._words = words

    async def get_suggestion(self, value: str) -> str | None:
        return next((word for word in self._words() if value and word.startswith(value) and word != value), None)
