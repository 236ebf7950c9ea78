"""Reading a command line: nearest names for what is mistyped, one shape of help for every command."""

from __future__ import annotations

import argparse
import os
import shutil
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from appliance.cli.command import Command
from appliance.errors import FileNotFound, UsageError, nearest, unknown_name

EXITS = {
    0: "ok",
    1: "the job failed",
    2: "wrong usage or settings",
    3: "no daemon answers",
    4: "no such thing",
    5: "conflicts with the present state",
    6: "not permitted",
    7: "does not fit on this machine",
    8: "the data was rejected",
    9: "a verification failed",
    70: "a bug of Luthier",
    124: "the time given ran out",
    130: "interrupted",
}
SHARED = ("--json", "--no-start", "--quiet", "-q")


class Parser(argparse.ArgumentParser):
    """An argument parser whose faults are errors of ours, with the nearest name."""

    def __init__(self, title: str, command: Command) -> None:
        width = max(50, min(shutil.get_terminal_size().columns, 100) - 1)
        super().__init__(
            prog=f"luthier {title}",
            usage=f"luthier {title}{' ' if command.usage else ''}{command.usage}",
            description=command.about,
            epilog=_epilog(command),
            formatter_class=lambda prog: _Formatter(prog, max_help_position=30, width=width),
            add_help=False,
            allow_abbrev=False,
        )
        self.title = title
        command.configure(self)
        shared = self.add_argument_group("options of every command")
        shared.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        shared.add_argument("--no-start", action="store_true", help="do not start a daemon when none runs")
        shared.add_argument("-q", "--quiet", action="store_true", help="no narration on stderr, only errors")
        shared.add_argument(
            "--setting",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a setting for this run and for a daemon started by it",
        )
        shared.add_argument("-h", "--help", action="store_true", help="show this and exit")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse every word. Raises ``UsageError``."""
        options, left = self.parse_known_intermixed_args(words)
        if not left:
            return options
        if left[0].startswith("-") and left[0] != "-":
            guess = nearest(left[0].split("=")[0], self._option_string_actions)
            hint = f"Did you mean '{guess}'?" if guess else self._help_hint()
            raise UsageError(f"`luthier {self.title}` has no option '{left[0]}'.", hint=hint)
        raise UsageError(f"`luthier {self.title}` takes no further argument '{left[0]}'.", hint=self._help_hint())

    def option_words(self) -> list[str]:
        """Every option, for completion."""
        return [option for option in self._option_string_actions if option.startswith("-")]

    def error(self, message: str) -> NoReturn:
        """What argparse found wrong, as an error of ours."""
        text = message.removeprefix("the following arguments are required: ")
        text = f"needs {text}" if text != message else message
        raise UsageError(f"`luthier {self.title}`: {text}.", hint=self._help_hint())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
            raise unknown_name(f"value of {name}", str(value), map(str, action.choices))

    def _help_hint(self) -> str:
        return f"`luthier {self.title} --help` shows how it is used."


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Plain help: headings of ours, no curly braces full of choices."""

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, prefix or "Usage: ")

    def start_section(self, heading: str | None) -> None:
        words = {"positional arguments": "Arguments", "options": "Options", "options of every command": "Everywhere"}
        super().start_section(words.get(heading or "", heading))


def _epilog(command: Command) -> str:
    parts = []
    if command.verbs:
        width = max(len(verb) for verb in command.verbs) + 2
        listed = [f"  {verb:{width}}{known.about.splitlines()[0]}" for verb, known in command.verbs.items()]
        parts.append("\n".join(["Verbs:", *listed]))
    if command.examples:
        parts.append("\n".join(["Examples:", *(f"  {example}" for example in command.examples)]))
    if not command.verbs:
        parts.append("\n".join(["Exit codes:", *(f"  {code:<4}{EXITS[code]}" for code in command.exits)]))
    return "\n\n".join(parts)


def assignments(pairs: Iterable[str], option: str) -> dict[str, str]:
    """``["a=b"]`` as a mapping. Raises ``UsageError`` for a pair without '='."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{option} got '{pair}', expected KEY=VALUE.")
        found[key.strip()] = value.strip()
    return found


def toml_value(text: str) -> Any:
    """``8`` is a number, ``true`` a truth, ``["a"]`` a list; what is not TOML is itself, as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def existing_file(text: str) -> str:
    """The absolute path of a file that exists. Raises ``FileNotFound`` naming the nearest file beside it."""
    path = Path(text).expanduser().absolute()
    # A folder that `save_to_disk` wrote is one dataset, and is named like a file.
    if path.is_file() or (path / "state.json").is_file():
        return os.path.normpath(path)
    if path.is_dir():
        raise FileNotFound(f"{path} is a folder, expected a file.", where=str(path))
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_file()] if path.parent.is_dir() else []
    guess = nearest(path.name, beside)
    hint = f"Did you mean '{path.parent / guess}'?" if guess else None
    raise FileNotFound(f"There is no file {path}.", hint=hint, where=str(path))


def seconds(text: str) -> float:
    """A positive number of seconds; ``90``, ``90s``, ``5m``, ``2h``."""
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    number = text[:-1] if factor else text
    try:
        value = float(number) * (factor or 1)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got '{text}', expected a time such as 90, 5m or 2h")
    return value


def at_least_one(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got '{text}', expected a whole number of 1 or more")
    return int(text)
