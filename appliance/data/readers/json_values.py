"""A JSON array, one value after another, or one object that holds the rows: read in pieces, never whole."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from appliance.data.encoding import Encoding
from appliance.data.json_text import StrictDecoder, check_depth, too_deep
from appliance.data.rows import ROW_LIMIT, Fault, Row, RowFault
from appliance.data.source import Source
from appliance.errors import UnreadableData
from appliance.text import safe_text

_CHUNK = 256 * 1024
_WHITE = " \t\r\n"
# Finds where a value ends that the strict decoder refuses for its content.
_ANY = json.JSONDecoder(parse_int=str)
# An object that is nothing but a box around the rows.
_BOXES = ("data", "rows", "examples", "train", "items")


class _Window:
    """The part of a text that is being looked at, with the number of its first line."""

    def __init__(self, stream: BinaryIO, source: Source, encoding: Encoding) -> None:
        self._stream = stream
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding.name)()
        self._encoding = encoding.name
        self.text = ""
        self.place = 0
        self.ended = False
        self._strict = StrictDecoder()
        self._line = 1
        self._counted = 0
        self._left_of = 0

    def more(self, count: int = _CHUNK) -> bool:
        """Take in more text; False at the end. What lies before ``place`` is let go."""
        if self.ended:
            return False
        self._forget()
        data = self._stream.read(count)
        try:
            self.text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self.error(f"a byte that is not {self._encoding}") from error
        self.ended = not data
        return True

    def skip_white(self) -> str:
        """Go to the next character that is not white space and return it; empty at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in _WHITE:
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def value(self) -> tuple[Any, Fault | None]:
        """The value that begins here, and what is wrong with it though it is whole.

        Raises ``UnreadableData`` and ``RowFault``.
        """
        self._strict.take_fault()
        while True:
            value, end, fault = self._attempt()
            if end < 0:
                continue
            # A number, true or null may go on in text not yet taken in.
            if end < len(self.text) or not self.more():
                break
        text, self.place = self.text[self.place : end], end
        if fault is not None:
            raise fault
        if len(text) > ROW_LIMIT:
            raise RowFault("row-too-big", f"is longer than {ROW_LIMIT // 1024 // 1024} MiB")
        check_depth(value, text)
        return value, self._strict.take_fault()

    def _attempt(self) -> tuple[Any, int, RowFault | None]:
        """The value here and where it ends; -1 when more text was taken in and it is to be tried again."""
        try:
            value, end = self._strict.decode_at(self.text, self.place)
        except RecursionError:
            raise self.error(too_deep().fault.message) from None
        except json.JSONDecodeError as error:
            if not self._grow():
                raise self.error(error.msg, error.pos) from None
            return None, -1, None
        except ValueError as error:
            # Right in form and wrong in content (NaN, a key twice): one wrong row, so its end is looked for.
            fault = RowFault("bad-json", f"is not JSON: {safe_text(error, limit=120)}")
            try:
                return None, _ANY.raw_decode(self.text, self.place)[1], fault
            except ValueError as error:
                if not self._grow():
                    raise self.error(safe_text(error, limit=120)) from None
                return None, -1, None
        return value, end, None

    def here(self) -> int:
        """The number of the line at ``place``."""
        self._line += self.text.count("\n", self._counted, self.place)
        self._counted = self.place
        return self._line

    def error(self, words: str, place: int | None = None) -> UnreadableData:
        """The end of reading: what is wrong and where."""
        place = self.place if place is None else min(place, len(self.text))
        line = self.here() + self.text.count("\n", self.place, place)
        column = place - self.text.rfind("\n", 0, place)
        if "\n" not in self.text[:place]:
            column += self._left_of
        where = f"{self._source.name}:{line}:{column}"
        return UnreadableData(
            f"{where} is not JSON: {words}.",
            hint="Correct the file at that place; JSON lines (.jsonl) can be read past a wrong line.",
            where=where,
        )

    def _grow(self) -> bool:
        """More text for a value that does not end yet, doubled each time; False when that cannot help."""
        waiting = len(self.text) - self.place
        return waiting <= ROW_LIMIT * 2 and self.more(max(_CHUNK, waiting))

    def _forget(self) -> None:
        self.here()
        last_break = self.text.rfind("\n", 0, self.place)
        self._left_of = self.place - last_break - 1 if last_break >= 0 else self._left_of + self.place
        self.text = self.text[self.place :]
        self.place = self._counted = 0


def read(source: Source, encoding: Encoding) -> Iterator[Row]:
    """Every element of the array, every value of the file, or every element of the one box in it."""
    with source.open() as stream:
        window = _Window(stream, source, encoding)
        if window.skip_white() == "[":
            window.place += 1
            yield from _elements(window)
        else:
            yield from _values(window)


def _elements(window: _Window) -> Iterator[Row]:
    number = 0
    if window.skip_white() == "]":
        window.place += 1
    else:
        while True:
            number += 1
            yield _row(window, number)
            mark = window.skip_white()
            if mark not in (",", "]"):
                raise window.error("expected ',' or ']' after a row" if mark else "the array does not end")
            window.place += 1
            if mark == "]":
                break
    if window.skip_white():
        raise window.error("text after the end of the array")


def _values(window: _Window) -> Iterator[Row]:
    if not window.skip_white():
        raise window.error("there is no value in it")
    first = _row(window, 1)
    box = _boxed(first.value) if not window.skip_white() else None
    if box is not None:
        yield from (Row(number, first.line, value) for number, value in enumerate(box, 1))
        return
    yield first
    number = 1
    while window.skip_white():
        number += 1
        yield _row(window, number)


def _row(window: _Window, number: int) -> Row:
    window.skip_white()
    line = window.here()
    try:
        return Row(number, line, *window.value())
    except RowFault as error:
        return Row(number, line, fault=error.fault)


def _boxed(value: Any) -> list[Any] | None:
    if not isinstance(value, dict):
        return None
    found = [part for key, part in value.items() if key in _BOXES and isinstance(part, list)]
    return found[0] if len(found) == 1 and all(isinstance(part, dict) for part in found[0]) else None
