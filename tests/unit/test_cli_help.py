"""Help, mistyped words, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.cli.arguments import EXITS
from appliance.cli.command import Command
from appliance.cli.commands import COMMANDS
from appliance.errors import error_classes


def every_command() -> Iterator[tuple[str, Command]]:
    for name in COMMANDS:
        command: Command = COMMANDS.load(name)
        yield name, command
        for verb, inner in command.verbs.items():
            yield f"{name} {verb}", inner


@pytest.mark.parametrize(("title", "command"), list(every_command()), ids=[title for title, _ in every_command()])
def test_every_help_says_what_it_does_how_and_with_what_exit_codes(
    title: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*title.split(), "-h"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: luthier {title}")
    assert command.about.splitlines()[0][:40] in text
    assert ("Verbs:" in text) if command.verbs else ("Exit codes:" in text)
    assert set(command.exits) <= set(EXITS)
    assert all(example.startswith(("luthier", "eval", "cat")) for example in command.examples)


def test_the_exit_codes_explained_are_those_of_the_errors() -> None:
    """Those of the kernel; the daemon's own 74 and 78 are for a service manager and end no command."""
    kernel = [cls for cls in error_classes() if cls.__module__ == "appliance.errors"]
    assert {cls.exit_status for cls in kernel} <= set(EXITS)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)
    assert max(len(line) for line in text.splitlines()) <= 84


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["tun", "x.jsonl"], "'tune'"),
        (["job", "cancle", "x"], "'cancel'"),
        (["tune", "x.jsonl", "--mthod", "lora"], "'--method'"),
        (["tune", "x", "--goal", "bets"], "'best'"),
        (["config", "get", "serve.prot"], "'serve.port'"),
        (["job", "ls", "--state", "runing"], "'running'"),
    ],
)
def test_a_mistyped_word_exits_2_and_is_answered_with_the_nearest(
    words: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"  → Did you mean {nearest}?" in captured.err


@pytest.mark.parametrize("words", [["--json", "config", "get", "x.y"], ["config", "get", "x.y", "--json"]])
def test_json_before_or_after_the_command_makes_an_error_one_object_on_stderr(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.err)
    assert captured.out == ""
    assert error["schema"] == "luthier.error/1"
    assert error["code"] == "unknown-name"
    assert set(error) >= {"message", "hint", "where", "fixes"}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["status", "--no-start"], 3),
        (["job", "ls", "--no-start", "--json"], 3),
        (["tune", "missing.jsonl", "--no-start"], 4),
        (["tune", "."], 4),
        (["tune"], 2),
        (["daemon", "status"], 3),
        (["daemon", "logs"], 4),
        (["plan", "some-dataset"], 2),
        (["tune", "x", "--timeout", "soon"], 2),
        (["version", "surplus"], 2),
        (["tune", "x", "--set", "training.rank"], 2),
        (["tune", "x", "--set", "training.rnak=8"], 2),
    ],
)
def test_exit_codes_tell_what_kind_of_failure_it_was(words: list[str], status: int) -> None:
    assert main(words) == status


def test_a_bare_command_away_from_a_terminal_prints_the_status_and_starts_nothing_if_told(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--no-start"]) == 3
    assert "No daemon answers" in capsys.readouterr().err
    assert not home.exists()


def test_version_and_config_path_work_with_a_broken_settings_file(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("[serve]\nprot = 1\n")
    assert main(["version"]) == 0
    assert main(["config", "path"]) == 0
    assert main(["config", "validate"]) == 2


def test_a_bug_exits_70_and_keeps_its_traceback_in_a_file(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    monkeypatch.setattr("appliance.cli.config._toml", lambda value: 1 / 0)
    assert main(["config", "show", "--json"]) == 0
    assert main(["config", "show"]) == 70
    (trace,) = (home / "crashes").iterdir()
    assert "ZeroDivisionError" in trace.read_text()
    assert str(trace) in capsys.readouterr().err


def test_a_flag_goes_before_the_environment_and_the_file(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "config.toml").write_text("[serve]\nport = 1\n")
    monkeypatch.setenv("LUTHIER_SERVE__PORT", "2")
    assert main(["config", "get", "serve.port", "--setting", "serve.port=3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "luthier.setting/1",
        "key": "serve.port",
        "value": 3,
        "origin": "flag",
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_verb(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(title.split()[-1] in text for title, _ in every_command())
