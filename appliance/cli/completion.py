"""``luthier completion``: a script that lets a shell complete commands, verbs and options."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator

from appliance.cli.arguments import Parser
from appliance.cli.command import Call, Command
from appliance.cli.commands import COMMANDS

Words = dict[str, list[str]]


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(_WRITERS), metavar="bash|zsh|fish", help="which shell")


def run(call: Call) -> int:
    call.screen.document(_WRITERS[call.options.shell](known_words()))
    return 0


def known_words() -> Words:
    """What may follow each command and each verb: ``{"job ls": ["--state", …], "job": ["ls", …]}``."""
    return {title: words for name in COMMANDS for title, words in _walk(name, COMMANDS.load(name))}


def _walk(title: str, command: Command) -> Iterator[tuple[str, list[str]]]:
    if command.verbs:
        yield title, list(command.verbs)
        for verb, inner in command.verbs.items():
            yield from _walk(f"{title} {verb}", inner)
    else:
        yield title, Parser(title, command).option_words()


def _bash(words: Words) -> str:
    cases = "\n".join(f"    '{title}') words='{' '.join(found)}' ;;" for title, found in words.items())
    nouns = "|".join(name for name in COMMANDS if any(title.startswith(f"{name} ") for title in words))
    return f"""_luthier() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" place words
  place="${{COMP_WORDS[1]}}"
  case "$place" in {nouns}) [ "$COMP_CWORD" -gt 2 ] && place="$place ${{COMP_WORDS[2]}}" ;; esac
  if [ "$COMP_CWORD" -eq 1 ]; then words='{" ".join(COMMANDS)}'; else case "$place" in
{cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ "${{#COMPREPLY[@]}}" -eq 0 ] && COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _luthier luthier"""


def _zsh(words: Words) -> str:
    return f"autoload -Uz bashcompinit && bashcompinit\n{_bash(words)}"


def _fish(words: Words) -> str:
    lines = ["complete -c luthier -n __fish_use_subcommand -f"]
    for name in COMMANDS:
        summary = COMMANDS[name].summary.replace("'", "")
        lines.append(f"complete -c luthier -n __fish_use_subcommand -a {name} -d '{summary}'")
    for title, found in words.items():
        seen = " ".join(f"; and __fish_seen_subcommand_from {word}" for word in title.split())[6:]
        for word in found:
            how = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}" if not word.startswith("-") else ""
            if how:
                lines.append(f"complete -c luthier -n '{seen}' {how}")
    return "\n".join(lines)


_WRITERS: dict[str, Callable[[Words], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}

COMMAND = Command(
    about="Print a completion script.",
    usage="bash|zsh|fish",
    configure=configure,
    run=run,
    examples=(
        'eval "$(luthier completion bash)"          in ~/.bashrc',
        'eval "$(luthier completion zsh)"           in ~/.zshrc',
        "luthier completion fish | source           in config.fish",
    ),
    exits=(0, 2),
)
