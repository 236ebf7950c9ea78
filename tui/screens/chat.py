"""Chat with a served model: the answer appears as it is written, and can be stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from appliance.text import safe_text
from tui.completion import Answer, AnswerEnded, AnswerGrew, Question
from tui.groups import endpoint_of
from tui.keys import bindings_of
from tui.screens.room import Room
from tui.show.words import one_line
from tui.widgets.panel import Panel
from tui.widgets.title import entitle
from tui.world import World

_EMPTY = Content.assemble(
    ("Nothing is served, so there is nobody to talk to.\n\n", ""),
    ("luthier quickstart", "bold $primary"),
    ("    tunes and serves a small model in about two minutes\n", "$quiet"),
    ("luthier serve MODEL", "bold $primary"),
    ("   serves one that exists; so does s on Models (4)", "$quiet"),
)
# Longest answer that is shown, in characters.
_LONGEST = 100_000
_GROW_SECONDS = 0.08


@dataclass(frozen=True)
class Turn:
    """One message. ``text`` is as it came; it is made safe where it is shown."""

    role: str
    text: str
    note: str = ""
    fault: str = ""


@dataclass
class Conversation:
    """What was said to one model."""

    turns: list[Turn] = field(default_factory=list)

    def messages(self) -> list[dict[str, str]]:
        """What the server is told; an answer that failed before its first word is left out."""
        return [{"role": turn.role, "content": turn.text} for turn in self.turns if turn.text]


class ChatScreen(Room):
    """A conversation, a line to write in, and the numbers of each answer."""

    ROOM = "chat"
    LISTS = False
    AUTO_FOCUS = None
    BINDINGS = bindings_of("chat")

    def __init__(self) -> None:
        super().__init__()
        self._model = ""
        self._talk = Conversation()
        self._answer: Answer | None = None
        self._grown_at = 0.0

    def furnish(self) -> Sequence[Widget]:
        writing = Input(id="message", compact=True, placeholder="write, ⏎ sends")
        writing.cursor_blink = False
        return Static("", id="whom", markup=False), Panel(id="talk", follow=True), writing

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.call_after_refresh(self.take_focus)

    def choose(self, model: str) -> None:
        """Talk to this model from now on."""
        self._model = model
        if self.is_mounted:
            self.repaint()

    def show(self, world: World) -> None:
        url, names = endpoint_of(world)
        if names and self._model not in names:
            self._model = names[0]
        writing = self.query_one("#message", Input)
        writing.disabled = not names
        others = f"   m: {len(names) - 1} more" if len(names) > 1 else ""
        whom = Content.assemble(
            ("● ", "$success"), (one_line(self._model, 40), "bold"), (f"   {one_line(url or '', 40)}{others}", "$quiet")
        )
        self.query_one("#whom", Static).update(whom if names else Content.styled("○ nothing is served", "$quiet"))
        self._paint_talk(bool(names))

    def _paint_talk(self, served: bool) -> None:
        panel = self.query_one("#talk", Panel)
        if self._talk.turns:
            panel.show(Content("\n\n").join(_turn(turn) for turn in self._talk.turns))
        else:
            hello = Content.styled("Ask something. The template and the end token are the model's own.", "$quiet")
            panel.show(hello if served else _EMPTY)
        entitle(panel, "", "esc stops" if self._answer else "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        url, names = endpoint_of(self.world)
        if not event.value.strip() or not url or not names:
            return
        if self._answer is not None:
            self.notify("An answer is being written; esc stops it.", severity="warning", markup=False)
            return
        self._talk.turns.append(Turn("user", event.value))
        question = Question(url, self._model, self._talk.messages())
        self._talk.turns.append(Turn("assistant", "", note="…"))
        event.input.value = ""
        self._answer = Answer(question, self)
        self._answer.start()
        self.repaint()
        self.query_one("#talk", Panel).scroll_end(animate=False)

    def on_answer_grew(self, message: AnswerGrew) -> None:
        if message.answer is not self._answer:
            return
        last = self._talk.turns[-1]
        self._talk.turns[-1] = replace(last, text=(last.text + message.text)[:_LONGEST])
        if monotonic() - self._grown_at >= _GROW_SECONDS:
            self._grown_at = monotonic()
            self._paint_talk(True)

    def on_answer_ended(self, message: AnswerEnded) -> None:
        if message.answer is not self._answer:
            return
        self._answer = None
        speed = message.pieces / message.seconds if message.seconds > 0 else 0.0
        note = f"{message.pieces} tokens, {speed:.0f} tok/s"
        note += f", first after {message.first_seconds:.2f} s" if message.first_seconds is not None else ""
        note += ", stopped" if message.answer.stopped else ""
        self._talk.turns[-1] = replace(self._talk.turns[-1], note=note, fault=message.fault)
        self.repaint()

    def action_stop(self) -> None:
        """Stop the answer; with none under way ctrl+c means what it means everywhere."""
        if self._answer is not None:
            self._answer.stop()
        else:
            self.app.action_help_quit()

    def retreat(self) -> bool:
        """What esc does here: stop the answer, then leave the line, then the room."""
        if self._answer is not None:
            self._answer.stop()
            return True
        if isinstance(self.focused, Input):
            self.query_one("#talk", Panel).focus()
            return True
        return False

    def action_write(self) -> None:
        self.set_focus(self.query_one("#message", Input))

    def action_forget(self) -> None:
        if self._answer is not None:
            self._answer.stop()
            self._answer = None
        self._talk = Conversation()
        self.repaint()

    def action_model(self, by: int) -> None:
        _, names = endpoint_of(self.world)
        if names:
            place = names.index(self._model) if self._model in names else 0
            self.choose(names[(place + by) % len(names)])

    def take_focus(self) -> None:
        writing = self.query_one("#message", Input)
        if writing.disabled:
            self.query_one("#talk", Panel).focus()
        else:
            writing.focus()


def _turn(turn: Turn) -> Content:
    """One message as it is shown: who, what, and the numbers."""
    who, colour = ("you", "$accent") if turn.role == "user" else ("model", "$primary")
    said = safe_text(turn.text, limit=_LONGEST, multiline=True)
    head = Content.assemble((who, f"bold {colour}"), (f"  {turn.note}", "$quiet"))
    lines = [head, Content(said)] if said else [head]
    if turn.fault:
        lines.append(Content.styled(f"✖ {safe_text(turn.fault, limit=500)}", "$error"))
    return Content("\n").join(lines)
