"""From the words of a command line to the one command they name, and from its failure to an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from appliance import durable
from appliance.cli.arguments import SHARED, Parser, assignments
from appliance.cli.command import Call, Command
from appliance.cli.commands import COMMANDS, GROUPS
from appliance.cli.render import Screen
from appliance.errors import LuthierError, UsageError, unknown_name
from appliance.paths import Paths, find_paths
from appliance.text import now_iso

_BUG = 70
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line. The broad ``except`` here is one of the four edges."""
    words = list(sys.argv[1:] if argv is None else argv)
    ours = words[: words.index("--")] if "--" in words else words
    screen = Screen(as_json="--json" in ours, quiet="--quiet" in ours or "-q" in ours)
    paths = find_paths()
    try:
        return _run(words, screen, paths)
    except LuthierError as error:
        screen.error(error)
        return error.exit_status
    except KeyboardInterrupt:
        screen.clear()
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left; nothing more can be said to it, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001
        return _report_bug(error, screen, paths)


def _run(words: list[str], screen: Screen, paths: Paths) -> int:
    leading = _take_options(words)
    if "--version" in leading:
        words = ["version"]
    if not words:
        if {"-h", "--help"} & set(leading):
            screen.document(overview())
            return 0
        words = ["dashboard"]
        command = _dashboard()
    elif words[0] == "help":
        return _run([*words[1:], "--help"], screen, paths)
    else:
        command = _command(words[0])
    title, command, rest = _verb(words[0], command, [*leading, *words[1:]])
    parser = Parser(title, command)
    before_dashes = rest[: rest.index("--")] if "--" in rest else rest
    if {"-h", "--help"} & set(before_dashes) or command.run is None:
        screen.document(parser.format_help())
        return 0
    options = parser.read(rest)
    call = Call(
        options=options,
        screen=screen,
        paths=paths,
        no_start=options.no_start,
        flags=assignments(options.setting, "--setting"),
    )
    return command.run(call)


def _take_options(words: list[str]) -> list[str]:
    """Remove the options that stand before the command, and return them."""
    taken = []
    while words and words[0] in (*SHARED, "-h", "--help", "--version"):
        taken.append(words.pop(0))
    if words and words[0].startswith("-"):
        raise UsageError(f"luthier has no option '{words[0]}' before a command.", hint="`luthier --help` lists all.")
    return taken


def _command(name: str) -> Command:
    """The command called ``name``. Raises ``UnknownName`` with the nearest."""
    if name not in COMMANDS:
        error = unknown_name("command", name, COMMANDS)
        raise UsageError(f"luthier has no command '{name}'.", hint=error.hint or "`luthier --help` lists all.")
    command: Command = COMMANDS.load(name)
    return command


def _dashboard() -> Command:
    from appliance.cli.dashboard import COMMAND

    return COMMAND


def _verb(title: str, command: Command, words: list[str]) -> tuple[str, Command, list[str]]:
    """Follow the words down to a command that runs."""
    if not command.verbs:
        return title, command, words
    place = next((index for index, word in enumerate(words) if not word.startswith("-")), None)
    if place is None:
        return title, command, words
    verb = words[place]
    if verb not in command.verbs:
        raise unknown_name(f"verb of `luthier {title}`", verb, command.verbs)
    return _verb(f"{title} {verb}", command.verbs[verb], words[:place] + words[place + 1 :])


def overview() -> str:
    """``luthier --help``."""
    lines = [
        "Luthier tunes open models on this machine: planned, crash-proof, proven and served.",
        "",
        "Usage: luthier [COMMAND] [options]          without a command: the dashboard",
    ]
    for group, names in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<12}{COMMANDS[name].summary}" for name in names]
    lines += [
        "",
        "Everywhere: --json (before or after the command), --no-start, --quiet, --help.",
        "Start with: luthier quickstart",
    ]
    return "\n".join(lines)


def _report_bug(error: Exception, screen: Screen, paths: Paths) -> int:
    """Keep the traceback in a file and say where it is."""
    place = paths.state / "crashes" / f"{now_iso().replace(':', '')}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        durable.make_folder(place.parent)
        durable.write_text(place, f"luthier {' '.join(sys.argv[1:])}\n\n{text}")
        hint = f"The traceback is in {place}; please report it."
    except (OSError, LuthierError):
        sys.stderr.write(text)
        hint = "The traceback is above; please report it."
    shown = LuthierError(f"This is a bug of Luthier: {type(error).__name__}: {error}", hint=hint)
    screen.error(shown, shown.as_dict() | {"code": "bug", "where": str(place)})
    return _BUG
