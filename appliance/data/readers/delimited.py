"""Tables as text (RFC 4180 and its relatives): a header, then rows of as many cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from appliance.data.encoding import Encoding
from appliance.data.rows import ROW_LIMIT, Fault, Row
from appliance.data.source import Source
from appliance.errors import UnreadableData
from appliance.text import safe_text

COLUMN_LIMIT = 512
_SEPARATORS = ",;\t|"
_HEAD = 256 * 1024


def read(source: Source, encoding: Encoding) -> Iterator[Row]:
    """Every row, as an object of texts by column name."""
    return _read(source, encoding, _separator(source, encoding))


def read_tabs(source: Source, encoding: Encoding) -> Iterator[Row]:
    """Every row of a table separated by tabs."""
    return _read(source, encoding, "\t")


def _read(source: Source, encoding: Encoding, separator: str) -> Iterator[Row]:
    csv.field_size_limit(ROW_LIMIT)
    with source.open() as stream:
        text = io.TextIOWrapper(stream, encoding=encoding.name.removesuffix("-sig"), newline="", errors="strict")
        try:
            yield from _rows(csv.reader(text, delimiter=separator, strict=True), source)
        except UnicodeDecodeError as error:
            raise UnreadableData(
                f"{source.name} is not {encoding.name}: byte {error.object[error.start]:#04x}.",
                hint="Save it as UTF-8.",
                where=source.name,
            ) from error
        finally:
            text.detach()


def _rows(table: Iterator[list[str]], source: Source) -> Iterator[Row]:
    names = _header(table, source)
    number = 0
    while True:
        line = table.line_num + 1  # type: ignore[attr-defined]
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Row(number, line, fault=Fault("bad-csv", _words(error)))
            continue
        if not cells:
            continue
        number += 1
        if len(cells) != len(names):
            words = f"has {len(cells)} cells, expected {len(names)}"
            yield Row(number, line, fault=Fault("wrong-cell-count", words))
        else:
            yield Row(number, line, dict(zip(names, cells, strict=True)))


def _header(table: Iterator[list[str]], source: Source) -> list[str]:
    try:
        names = next((cells for cells in table if cells), [])
    except csv.Error as error:
        raise UnreadableData(f"{source.place(1)} {_words(error)}.", where=source.place(1)) from error
    if len(names) > COLUMN_LIMIT:
        raise UnreadableData(
            f"{source.name} has {len(names):,} columns, expected at most {COLUMN_LIMIT}.",
            hint="Keep the columns to learn from.",
            where=source.place(1),
        )
    if any("\0" in name for name in names):
        raise UnreadableData(f"{source.name} holds binary data, not a table.", where=source.place(1))
    names = [name.strip().removeprefix("\ufeff") or f"column {place}" for place, name in enumerate(names, 1)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UnreadableData(
            f"{source.name} has two columns named '{safe_text(twice[0], limit=60)}'.",
            hint="Give every column a name of its own.",
            where=source.place(1),
        )
    return names


def _separator(source: Source, encoding: Encoding) -> str:
    """The separator that cuts the beginning of the file into the most even table."""
    head = source.head(_HEAD).decode(encoding.name, "replace").lstrip("\ufeff")
    best, score = ",", 0.0
    for candidate in _SEPARATORS:
        widths = _widths(head, candidate)
        if not widths or widths[0] < 2:
            continue
        even = sum(width == widths[0] for width in widths) / len(widths)
        if even > score:
            best, score = candidate, even
    return best


def _widths(head: str, separator: str) -> list[int]:
    widths: list[int] = []
    # The last line of the beginning may be cut.
    kept = head.splitlines(keepends=True)[: -1 if len(head) >= _HEAD // 4 else None]
    try:
        for cells in csv.reader(kept, delimiter=separator, strict=False):
            if cells:
                widths.append(len(cells))
            if len(widths) == 100:
                break
    except csv.Error:
        return widths
    return widths


def _words(error: csv.Error) -> str:
    words = str(error)
    if "unexpected end of data" in words:
        return "has a quoted cell that does not end"
    if "field limit" in words:
        return f"has a cell longer than {ROW_LIMIT // 1024 // 1024} MiB: a quote may be missing"
    return f"is not CSV: {safe_text(words, limit=120)}"
