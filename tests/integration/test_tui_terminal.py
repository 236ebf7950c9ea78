"""The dashboard in a real (pseudo-)terminal: every byte it writes, and how it leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_PATIENCE = 60.0


class Terminal:
    """A program in a pseudo-terminal of 120×40 cells, and everything it wrote."""

    def __init__(self, *command: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        env = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=REPOSITORY, start_new_session=True
        )
        os.close(slave)
        self.written = b""

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, words: str) -> None:
        """Read until words were written since the last call."""
        start = len(self.written)
        deadline = time.monotonic() + _PATIENCE
        while words.encode() not in self.written[start:]:
            assert time.monotonic() < deadline, f"{words!r} was not written"
            self._read()

    def leave(self) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + _PATIENCE
        while self._read() or self.process.poll() is None:
            assert time.monotonic() < deadline, "it did not end"
        return self.process.wait()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.2)
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:
            return False
        self.written += data
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(sys.executable, str(Path(__file__).with_name("tui_in_a_terminal.py")))
    yield made
    made.close()


def test_no_name_from_elsewhere_reaches_the_terminal_as_a_command(terminal: Terminal) -> None:
    terminal.until("harbour")
    for key, words in (
        ("2", "state"),
        ("3", "What became of each row"),
        ("4", "Scores"),
        ("6", "memory"),
        ("1", "Running"),
    ):
        terminal.press(key)
        terminal.until(words)
    terminal.press(":why j-tick1\r")
    terminal.until("Why it failed")
    terminal.press("q")
    time.sleep(0.5)
    terminal.press("q")
    assert terminal.leave() == 0
    assert b"PWNED" in terminal.written, "the names were shown"
    for payload in (b"\x1b]52;", b"\x1b]0;PWNED", "\x9b31m".encode(), "\u202e".encode()):
        assert payload not in terminal.written
    assert b"1 job goes on" in terminal.written
    assert terminal.written.rstrip().endswith(b"does.")


def test_a_killed_dashboard_can_be_opened_again(terminal: Terminal) -> None:
    terminal.until("harbour")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.leave()
    again = Terminal(sys.executable, str(Path(__file__).with_name("tui_in_a_terminal.py")))
    try:
        again.until("harbour")
        again.press("q")
        assert again.leave() == 0
    finally:
        again.close()
