"""The only module that prints. stdout is data, stderr is narration.

Strings that are not ours pass through ``safe_text`` before they reach a terminal. Colour is off without a
terminal and with ``NO_COLOR``; ``LUTHIER_PLAIN`` also turns off the line that rewrites itself.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TextIO

from appliance.errors import LuthierError
from appliance.text import safe_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Inside a JSON document these occur only in strings, where an escape means the same and does no harm.
_HARMFUL = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_CLEAR_LINE = "\r\x1b[2K"
_WIDE = 100_000


def styled(*parts: str | tuple[str, str]) -> Text:
    """One line made of plain parts and ``(part, style)`` pairs; every part is made safe."""
    from rich.text import Text

    line = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        line.append(safe_text(words, limit=20_000), style)
    return line


class Screen:
    """Where one command writes."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._drawn = False
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")

    @cached_property
    def plain(self) -> bool:
        """Whether narration goes to something that cannot rewrite a line."""
        dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("LUTHIER_PLAIN"))
        return dumb or not sys.stderr.isatty()

    # Data

    def value(self, value: Mapping[str, Any]) -> None:
        """One JSON object on stdout."""
        print(json_text(value), flush=True)

    def show(self, *lines: str | Text) -> None:
        """Lines of text on stdout."""
        self.clear()
        for line in lines:
            if isinstance(line, str):
                print(safe_text(line, limit=1_000_000, multiline=True))
            else:
                self._out.print(line, soft_wrap=True)
        sys.stdout.flush()

    def piece(self, text: str) -> None:
        """A part of a line that is still being made, on stdout."""
        print(safe_text(text, limit=1_000_000, multiline=True), end="", flush=True)

    def document(self, text: str) -> None:
        """A text of ours, exactly as it is, on stdout: help, a script."""
        print(text.rstrip("\n"), flush=True)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        right: Sequence[str] = (),
        paragraph: str | None = None,
    ) -> None:
        """A table without lines. On a terminal the widest column gives way, or the one named as ``paragraph`` is
        broken into lines; in a pipe nothing is cut or broken."""
        from rich.table import Table
        from rich.text import Text

        filled = [[cell if isinstance(cell, Text) else styled(_cell(cell)) for cell in row] for row in rows]
        widths = [max([len(name), *(row[place].cell_len for row in filled)]) for place, name in enumerate(columns)]
        yielding = columns.index(paragraph) if paragraph else widths.index(max(widths))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for place, name in enumerate(columns):
            table.add_column(
                name,
                justify="right" if name in right else "left",
                no_wrap=name != paragraph,
                overflow="fold" if name == paragraph else "ellipsis",
                min_width=8 if place == yielding else widths[place],
            )
        for row in filled:
            table.add_row(*row)
        console = self._out if sys.stdout.isatty() else _console(sys.stdout, width=_WIDE)
        with console.capture() as captured:
            console.print(table)
        self.document("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Labels and values, one a line; a value of None is left out. A terminal gets long values in paragraphs."""
        shown = [(label, value) for label, value in pairs if value]
        indent = max((len(label) for label, _ in shown), default=0) + 2
        room = max(24, self._out.width - indent) if sys.stdout.isatty() else _WIDE
        for label, value in shown:
            for number, line in enumerate(_paragraph(value, room)):
                self.show(styled((f"{label if number == 0 else '':{indent}}", "dim")) + line)

    # Narration

    def say(self, line: str | Text) -> None:
        """A line of narration on stderr."""
        if self.quiet:
            return
        self.clear()
        self._err.print(styled(line) if isinstance(line, str) else line, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Narration that should be noticed."""
        self.say(styled(("▲ ", "yellow"), text))

    def live(self, line: str | Text) -> None:
        """Draw the one line that rewrites itself; nothing without a terminal."""
        if self.plain or self.quiet:
            return
        text = styled(line) if isinstance(line, str) else line
        text.truncate(max(20, self._err.width - 1), overflow="ellipsis")
        self._err.file.write(_CLEAR_LINE)
        self._err.print(text, end="", soft_wrap=True)
        self._err.file.flush()
        self._drawn = True

    def clear(self) -> None:
        """Take the live line away."""
        if self._drawn:
            self._err.file.write(_CLEAR_LINE)
            self._err.file.flush()
            self._drawn = False

    def error(self, error: LuthierError, described: Mapping[str, Any] | None = None) -> None:
        """How a command failed: ``luthier.error/1`` with ``--json``, else a sentence and what to do."""
        self.clear()
        body = dict(described or error.as_dict())
        if self.as_json:
            print(json_text(body), file=sys.stderr, flush=True)
            return
        lines = safe_text(body.get("message") or error.message, limit=8000, multiline=True).splitlines()
        for number, line in enumerate(lines):
            self._err.print(styled((line, "bold red" if number == 0 else "")), soft_wrap=True)
        if body.get("hint"):
            self._err.print(styled(("  → ", "cyan"), str(body["hint"])), soft_wrap=True)

    @cached_property
    def _out(self) -> Console:
        return _console(sys.stdout)

    @cached_property
    def _err(self) -> Console:
        return _console(sys.stderr)

    @property
    def width(self) -> int:
        """Columns of the terminal that narration goes to."""
        return self._err.width


def _console(file: TextIO, width: int | None = None) -> Console:
    from rich.console import Console

    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def _paragraph(value: object, room: int) -> list[Text]:
    """A value in lines of at most ``room`` columns; a word longer than that, such as a path, stays whole."""
    from rich.text import Text

    if isinstance(value, Text):
        return [value]
    words = safe_text(value, limit=20_000)
    hanging = "  " if words.startswith("· ") else ""
    lines = wrap(words, room, break_long_words=False, break_on_hyphens=False, subsequent_indent=hanging)
    return [styled(line) for line in lines]


def _cell(value: object) -> str:
    return "–" if value is None or value == "" else str(value)


def json_text(value: Mapping[str, Any]) -> str:
    """JSON that a terminal can bear: control and direction characters are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return _HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
