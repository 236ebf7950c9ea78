"""The dashboard as a Textual application: rooms, themes and keys. It handles no message of the feed itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import ClassVar, cast

from textual.app import App, SystemCommand
from textual.screen import Screen
from textual.widgets import Input

from tui.commands import parse_command
from tui.feed import Feed
from tui.groups import find_job
from tui.keys import EVERYWHERE, MAIN_ROOMS, TITLES, bindings_of
from tui.screens import SCREENS
from tui.screens.room import Room
from tui.theme import THEMES, extra_variables

_KEYS = {"room", "help", "filter", "command", "back", "reconnect"}


def _lazy(name: str) -> Callable[[], Screen[None]]:
    """The screen of this name, imported when it is first opened."""
    return lambda: cast("Screen[None]", SCREENS.load(name)())


class LuthierApp(App[str]):
    """Shows what the feed tells. Ends with a sentence about what goes on without it."""

    TITLE = "luthier"
    CSS_PATH = "app.tcss"
    MODES = {name: _lazy(name) for name in MAIN_ROOMS}  # noqa: RUF012  Textual's own declaration
    DEFAULT_MODE = "home"
    BINDINGS = bindings_of(EVERYWHERE)
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-short"), (32, "-tall")]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True

    def __init__(self, feed: Feed, *, theme: str = "luthier", now: Callable[[], datetime] | None = None) -> None:
        """``now`` gives local time; a test freezes it."""
        super().__init__()
        self.feed = feed
        self.now = now or (lambda: datetime.now().astimezone())
        self.animation_level = "none"
        for own in THEMES:
            self.register_theme(own)
        self._wanted_theme = theme
        self.theme = theme if theme in self.available_themes else "luthier"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return extra_variables(self.current_theme.dark)

    def on_mount(self) -> None:
        if self._wanted_theme not in self.available_themes:
            known = ", ".join(sorted(self.available_themes))
            words = f"No theme is named '{self._wanted_theme}' (setting ui.theme). There are: {known}."
            self.notify(words, severity="warning", markup=False)
        self.feed.open()

    def on_unmount(self) -> None:
        self.feed.close()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: our rooms first, then Textual's own."""
        for name in MAIN_ROOMS:
            yield SystemCommand(TITLES[name], SCREENS[name].summary, lambda name=name: self.action_room(name))
        yield from super().get_system_commands(screen)

    # Going places.

    def action_room(self, name: str) -> None:
        """Go to a main room; there, from whatever lies on top of it."""
        if self.current_mode == name:
            while len(self.screen_stack) > 1:
                self.pop_screen()
        else:
            self.switch_mode(name)

    def open_job(self, job: str) -> None:
        """Show one job on top of the room."""
        self.push_screen(cast("Screen[None]", SCREENS.load("job")(job)))

    def chat_with(self, model: str) -> None:
        """Go to the chat and talk to this model."""
        self.switch_mode("chat")
        self.call_later(lambda: self.screen.choose(model) if hasattr(self.screen, "choose") else None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Our keys are letters: they are none while someone writes, or while something lies over the room."""
        if action in _KEYS:
            return isinstance(self.screen, Room) and not isinstance(self.screen.focused, Input)
        return super().check_action(action, parameters)

    def action_help(self) -> None:
        room = self.screen.ROOM if isinstance(self.screen, Room) else "home"
        self.push_screen(cast("Screen[None]", SCREENS.load("help")(room)))

    def action_filter(self) -> None:
        if isinstance(self.screen, Room):
            self.screen.action_filter()

    def action_command(self) -> None:
        if isinstance(self.screen, Room):
            self.screen.action_command()

    def action_reconnect(self) -> None:
        self.feed.reconnect()

    def action_retreat(self) -> None:
        """One level up: never out of the dashboard."""
        retreat = getattr(self.screen, "retreat", None)
        if retreat is not None and retreat():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self.current_mode != "home":
            self.switch_mode("home")

    async def action_back(self) -> None:
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self.current_mode != "home":
            self.switch_mode("home")
        else:
            self.leave()

    def leave(self) -> None:
        """Close the dashboard, and say what goes on."""
        active = sum(job.get("state") in ("running", "starting") for job in self.feed.world.jobs.values())
        words = {0: "", 1: "1 job goes on; "}.get(active, f"{active} jobs go on; ")
        self.exit(f"{words}`luthier status` shows what the daemon does." if active else "")

    def run_command(self, text: str) -> None:
        """Do what was typed after ``:``."""
        command = parse_command(text)
        if command.fault:
            self.notify(command.fault, severity="warning", markup=False)
        elif command.name == "q":
            self.leave()
        elif command.name == "help":
            self.action_help()
        elif command.name == "theme":
            self._use_theme(command.argument)
        elif command.name in ("job", "why"):
            self._find(command.argument)
        elif command.name == "chat" and command.argument:
            self.chat_with(command.argument)
        elif command.name:
            self.action_room(command.name)
            if command.argument:
                self.call_later(self._filter, command.argument)

    def _filter(self, text: str) -> None:
        if isinstance(self.screen, Room):
            self.screen.filter_by(text)

    def _use_theme(self, name: str) -> None:
        if name in self.available_themes:
            self.theme = name
        else:
            self.notify(f"No theme is named '{name}'.", severity="warning", markup=False)

    def _find(self, name: str) -> None:
        job = find_job(self.feed.world, name)
        if job is None:
            self.notify(f"No job is named '{name}'. :jobs shows them all.", severity="warning", markup=False)
        else:
            self.open_job(str(job.get("id")))
