"""One JSON value a line: a wrong line is one wrong row, and reading goes on."""

from __future__ import annotations

import io
from collections.abc import Iterator

from appliance.data.encoding import Encoding
from appliance.data.json_text import StrictDecoder, parse_json
from appliance.data.rows import ROW_LIMIT, Fault, Row, RowFault
from appliance.data.source import Source
from appliance.errors import UnreadableData


def read(source: Source, encoding: Encoding) -> Iterator[Row]:
    """Every line that is not blank."""
    number = 0
    decoder = StrictDecoder()
    for line, text in lines(source, encoding):
        if isinstance(text, str) and not text.strip():
            continue
        number += 1
        if isinstance(text, Fault):
            yield Row(number, line, fault=text)
            continue
        try:
            value = parse_json(text.strip(), decoder)
            yield Row(number, line, value, decoder.take_fault())
        except RowFault as error:
            decoder.take_fault()
            yield Row(number, line, fault=error.fault)


def lines(source: Source, encoding: Encoding) -> Iterator[tuple[int, str | Fault]]:
    """The lines of a file with their numbers; one too long or not in the file's encoding comes as a fault."""
    if not encoding.by_line:
        yield from _wide_lines(source, encoding)
        return
    name = encoding.name.removesuffix("-sig")
    with source.open() as stream:
        number = 0
        while line := stream.readline(ROW_LIMIT + 1):
            number += 1
            if len(line) > ROW_LIMIT:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(ROW_LIMIT)
                yield number, too_big()
                continue
            try:
                yield number, line.decode("utf-8-sig" if number == 1 and name == "utf-8" else name)
            except UnicodeDecodeError as error:
                found = f"byte {error.object[error.start]:#04x} at {error.start + 1}"
                yield number, Fault("bad-encoding", f"is not {name}: {found}")


def too_big() -> Fault:
    """The fault of a row beyond the limit."""
    return Fault("row-too-big", f"is longer than {ROW_LIMIT // 1024 // 1024} MiB")


def _wide_lines(source: Source, encoding: Encoding) -> Iterator[tuple[int, str | Fault]]:
    """UTF-16 and UTF-32, where a line break is not a byte."""
    with source.open() as stream:
        text = io.TextIOWrapper(stream, encoding=encoding.name, newline="\n")
        number = 0
        try:
            while line := text.readline(ROW_LIMIT + 1):
                number += 1
                if len(line) > ROW_LIMIT:
                    while line and not line.endswith("\n"):
                        line = text.readline(ROW_LIMIT)
                    yield number, too_big()
                else:
                    yield number, line
        except UnicodeDecodeError as error:
            where = source.place(number + 1)
            raise UnreadableData(f"{where} is not {encoding.name}: {error.reason}.", where=where) from error
        finally:
            text.detach()
