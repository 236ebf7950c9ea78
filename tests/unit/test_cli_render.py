"""What reaches a terminal or a pipe."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.render import Screen, json_text, styled

REPOSITORY = Path(__file__).parents[2]
NASTY = "a\x1b]52;c;aGk=\x07\x9b31m\u202egpj.exe\u2066\ud800b"


@pytest.mark.parametrize("module", ["curve", "summary", "words", "logs"])
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"appliance.cli.{module}"))
    assert tried
    assert not failed


def test_json_keeps_every_character_and_none_can_steer_a_terminal() -> None:
    text = json_text({"name": NASTY, "ü": "漢"})
    assert json.loads(text) == {"name": NASTY, "ü": "漢"}
    assert "漢" in text
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c in "\u202e\u2066\ud800" for c in text)


@pytest.mark.parametrize("stream", ["out", "err"])
def test_foreign_strings_are_made_safe_before_they_are_shown(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    if stream == "out":
        screen.show(NASTY, styled(NASTY))
        screen.table(("X",), [(NASTY,)])
        screen.pairs([("x", NASTY)])
        screen.piece(NASTY)
    else:
        screen.say(NASTY)
        screen.warn(NASTY)
    text = getattr(capsys.readouterr(), stream)
    assert "gpj.exe" in text
    assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\ud800")


def test_a_table_in_a_pipe_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().table(("NAME", "PATH"), [("n" * 90, "p" * 300)])
    assert "p" * 300 in capsys.readouterr().out


def test_quiet_silences_narration_but_not_data(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    screen.say("narration")
    screen.live("live")
    screen.show("data")
    captured = capsys.readouterr()
    assert captured.out == "data\n"
    assert captured.err == ""


def test_a_reader_that_leaves_early_is_no_bug() -> None:
    command = f"{sys.executable} -m appliance.cli completion bash | head -c 1"
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout == "_"
    assert done.stderr == ""
