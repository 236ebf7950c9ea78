"""What can be typed after ``:``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.errors import nearest
from tui.groups import groups_of
from tui.keys import MAIN_ROOMS
from tui.world import World

# name → (needs a name after it, what it does)
COMMANDS: dict[str, tuple[bool, str]] = {
    **{room: (False, f"go to {room}") for room in MAIN_ROOMS},
    "job": (True, "show one job"),
    "why": (True, "show why a job failed or waits"),
    "help": (False, "show the keys"),
    "theme": (True, "use another theme"),
    "q": (False, "close the dashboard; jobs go on"),
}
_ALIASES = {
    "quit": "q",
    "exit": "q",
    "gpus": "devices",
    "gpu": "devices",
    "datasets": "data",
    "model": "models",
    "h": "help",
}


@dataclass(frozen=True)
class Command:
    """A command that was understood, or a sentence about why not."""

    name: str = ""
    argument: str = ""
    fault: str = ""


def parse_command(text: str) -> Command:
    """Understand what was typed; ``chat`` may be followed by a model, ``jobs`` by a filter."""
    name, _, argument = text.strip().removeprefix(":").partition(" ")
    name, argument = _ALIASES.get(name, name), argument.strip()
    if not name:
        return Command()
    if name not in COMMANDS:
        guess = nearest(name, [*COMMANDS, *_ALIASES])
        return Command(
            fault=f"No command is named '{name}'." + (f" Did you mean :{guess}?" if guess else " ? shows them all.")
        )
    if COMMANDS[name][0] and not argument:
        return Command(fault=f":{name} needs a name after it.")
    return Command(name, argument)


def completions(world: World, themes: Iterable[str]) -> list[str]:
    """Everything that can be typed now, commands before names."""
    names = [group.name for group in groups_of(world)]
    words = list(COMMANDS)
    words += [f"{command} {name}" for command in ("job", "why") for name in names]
    words += [f"theme {theme}" for theme in themes]
    return words


def matches(text: str, query: str, *, state: str = "") -> bool:
    """Whether a filter lets a row through: every word must be in it, ``!word`` must not, ``state:failed`` asks for
    a state."""
    row = text.casefold()
    for word in query.casefold().split():
        wanted = word.removeprefix("!")
        found = state.startswith(wanted.removeprefix("state:")) if wanted.startswith("state:") else wanted in row
        if wanted and found is word.startswith("!"):
            return False
    return True
