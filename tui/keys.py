"""Every key of the dashboard, once: bindings, the footer and the help page are made from this table.

Left out on purpose, because terminals or multiplexers cannot deliver them or people expect something else of
them: ctrl+h, ctrl+i, ctrl+j, ctrl+m, ctrl+[ (other keys to a terminal), ctrl+a and ctrl+b (prefixes of screen and
tmux), ctrl+z (suspend), alt+enter, ctrl+enter, shift+enter.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType

FORBIDDEN = frozenset(
    {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+left_square_bracket", "ctrl+a", "ctrl+b", "ctrl+z"}
    | {"alt+enter", "ctrl+enter", "shift+enter"}
)
EVERYWHERE = "everywhere"
LISTS = "lists"
PANELS = "panels"


@dataclass(frozen=True)
class Action:
    """One thing a key does in one room."""

    room: str
    """``everywhere``, ``lists``, ``panels`` (boxes of text that scroll) or the name of a screen."""
    keys: str
    """Textual's names of the keys, separated by commas."""
    shown: str
    """The keys as a person reads them."""
    does: str
    """The Textual action."""
    label: str
    """One or two words for the footer."""
    help: str
    """One sentence for the help page."""
    footer: bool = True
    """Whether the footer has it."""


ACTIONS: tuple[Action, ...] = (
    Action("home", "p", "p", "pause", "pause", "Pause the running job at its next checkpoint, or resume a paused one."),
    Action("home", "x", "x", "cancel", "cancel", "Cancel the selected job; asks first. Checkpoints are kept."),
    Action("home", "r", "r", "rerun", "rerun", "Run the selected job again with the same spec.", False),
    Action("home", "tab", "tab", "app.focus_next", "next box", "Go to the next box; shift+tab goes back.", False),
    Action("jobs", "p", "p", "pause", "pause", "Pause the selected job at its next checkpoint, or resume it."),
    Action("jobs", "x", "x", "cancel", "cancel", "Cancel the selected job; asks first. Checkpoints are kept."),
    Action("jobs", "r", "r", "rerun", "rerun", "Run the selected job again with the same spec."),
    Action("job", "left_square_bracket,h,left", "[", "tab(-1)", "", "Show the tab to the left.", False),
    Action("job", "right_square_bracket,l,right,tab", "] tab", "tab(1)", "next tab", "Show the tab to the right."),
    Action("job", "greater_than_sign", ">", "stage(1)", "next stage", "Show the next job of the same tune."),
    Action("job", "less_than_sign", "<", "stage(-1)", "", "Show the job before it.", False),
    Action("job", "p", "p", "pause", "pause", "Pause the job at its next checkpoint, or resume it."),
    Action("job", "x", "x", "cancel", "cancel", "Cancel the job; asks first. Checkpoints are kept."),
    Action("job", "r", "r", "rerun", "rerun", "Run the job again with the same spec."),
    Action("job", "z", "z", "zoom", "zoom", "Give the loss chart the whole screen, or give it back."),
    Action("job", "L", "L", "log_scale", "log scale", "Draw the loss on a logarithmic axis, or not.", False),
    Action("data", "tab", "tab", "app.focus_next", "next box", "Go to the next box; shift+tab goes back.", False),
    Action("models", "s", "s", "serve", "serve/stop", "Serve the selected model at the endpoint, or stop serving it."),
    Action("models", "tab", "tab", "app.focus_next", "next box", "Go to the next box; shift+tab goes back.", False),
    Action("chat", "i", "i", "write", "write", "Write a message."),
    Action("chat", "m", "m", "model(1)", "next model", "Talk to the next model of the endpoint."),
    Action("chat", "n", "n", "forget", "new chat", "Forget this conversation and start a new one."),
    Action("chat", "ctrl+c", "ctrl+c", "stop", "stop", "Stop the answer that is being written; esc does it too."),
    Action(LISTS, "j,down", "j ↓", "cursor_down", "", "Down.", False),
    Action(LISTS, "k,up", "k ↑", "cursor_up", "", "Up.", False),
    Action(LISTS, "g,home", "g", "first", "", "To the top.", False),
    Action(LISTS, "G,end", "G", "last", "", "To the end.", False),
    Action(LISTS, "pagedown,ctrl+d", "pgdn", "page_down", "", "A page down.", False),
    Action(LISTS, "pageup,ctrl+u", "pgup", "page_up", "", "A page up.", False),
    Action(LISTS, "enter", "⏎", "select", "open", "Open what is selected."),
    Action(PANELS, "j,down", "j ↓", "scroll_down", "", "Down.", False),
    Action(PANELS, "k,up", "k ↑", "scroll_up", "", "Up.", False),
    Action(PANELS, "g,home", "g", "scroll_home", "", "To the top.", False),
    Action(PANELS, "G,end", "G", "scroll_end", "", "To the end.", False),
    Action(PANELS, "pagedown,ctrl+d", "pgdn", "page_down", "", "A page down.", False),
    Action(PANELS, "pageup,ctrl+u", "pgup", "page_up", "", "A page up.", False),
    Action(EVERYWHERE, "slash", "/", "filter", "filter", "Filter: words, state:failed, !word for without."),
    Action(EVERYWHERE, "colon", ":", "command", "command", "Go by name: :jobs :job NAME :why NAME :chat MODEL :q …"),
    Action(EVERYWHERE, "question_mark,f1", "?", "help", "help", "Show the keys of this screen."),
    Action(EVERYWHERE, "q", "q", "back", "back", "Back; at home it closes the dashboard. Jobs go on."),
    Action(EVERYWHERE, "escape", "esc", "retreat", "", "One level up; never stops or changes anything.", False),
    Action(EVERYWHERE, "1", "1", "room('home')", "", "Home: what runs, what waits, what needs you.", False),
    Action(EVERYWHERE, "2", "2", "room('jobs')", "", "Jobs: all of them.", False),
    Action(EVERYWHERE, "3", "3", "room('data')", "", "Data: datasets and what became of each row.", False),
    Action(EVERYWHERE, "4", "4", "room('models')", "", "Models: scores, artifacts, parity.", False),
    Action(EVERYWHERE, "5,c", "5 c", "room('chat')", "", "Chat with a served model.", False),
    Action(EVERYWHERE, "6", "6", "room('devices')", "", "Devices: the GPUs, or the CPU.", False),
    Action(EVERYWHERE, "R", "R", "reconnect", "", "Connect again now, starting the daemon if none runs.", False),
    Action(EVERYWHERE, "ctrl+p", "ctrl+p", "command_palette", "", "The palette: themes, screenshots and more.", False),
)
MAIN_ROOMS = ("home", "jobs", "data", "models", "chat", "devices")
TITLES = {name: name.capitalize() for name in (*MAIN_ROOMS, "job", "help")}


def actions_of(room: str) -> tuple[Action, ...]:
    """The actions of one room, in the table's order."""
    return tuple(action for action in ACTIONS if action.room == room)


def bindings_of(room: str) -> list[BindingType]:
    """The bindings of one room; a person can remap each by its id."""
    return [
        Binding(
            action.keys,
            action.does,
            action.label or action.help,
            show=False,
            priority=_comes_first(action),
            id=f"{room}.{action.does}",
        )
        for action in actions_of(room)
    ]


def _comes_first(action: Action) -> bool:
    """Whether a key is looked at before it goes to what has the focus.

    ctrl+c must stop an answer even while the line to write in has the keys. Keys that go somewhere must have gone
    there before the next key of a fast typist, a paste or a slow connection arrives; ``LuthierApp.check_action``
    leaves them to a line that is being written in.
    """
    return action.keys == "ctrl+c" or (action.room == EVERYWHERE and len(action.shown.split()[0]) == 1)


def footer_of(room: str, *, lists: bool) -> tuple[Action, ...]:
    """What the footer shows in one room, most particular first."""
    rooms = (LISTS, room, EVERYWHERE) if lists else (room, EVERYWHERE)
    return tuple(action for name in rooms for action in actions_of(name) if action.footer)
