"""Parquet and Arrow files, a few rows at a time. pyarrow is loaded when one is read, in the child that reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

from appliance.data.encoding import Encoding
from appliance.data.json_text import DEPTH_LIMIT
from appliance.data.readers.delimited import COLUMN_LIMIT
from appliance.data.rows import ROW_LIMIT, Fault, Row
from appliance.data.source import Source
from appliance.data.unpack import watch_growth
from appliance.errors import UnreadableData
from appliance.text import safe_text

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1000
"""Rows that are in memory at once."""
# The encodings from which pyarrow can take a dictionary as it is.
_BY_DICTIONARY = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
_LEAST_VALUE = 1
"""Bytes a value takes at least, when a footer is asked how large a file will be."""


def read_parquet(source: Source, _encoding: Encoding) -> Iterator[Row]:
    """Every row of a Parquet file. Raises ``UnreadableData`` and ``BombSuspected``."""
    with source.open() as stream, _faults(source, "Parquet"):
        yield from _rows(_parquet_batches(stream, source), source)


def read_arrow(source: Source, _encoding: Encoding) -> Iterator[Row]:
    """Every row of an Arrow file (Feather), or of an Arrow stream."""
    with source.open() as stream, _faults(source, "Arrow"):
        yield from _rows(_arrow_batches(stream, source), source)


def _parquet_batches(stream: BinaryIO, source: Source) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    footer = pq.ParquetFile(stream, thrift_string_size_limit=64 * 1024 * 1024).metadata
    _check_columns(footer.row_group(0).num_columns if footer.num_row_groups else footer.num_columns, source)
    chunks = [
        footer.row_group(group).column(column)
        for group in range(footer.num_row_groups)
        for column in range(footer.num_columns)
    ]
    watch_growth(sum(max(chunk.total_uncompressed_size, _LEAST_VALUE * chunk.num_values) for chunk in chunks), source)
    # Texts that are kept once and meant a million times stay like that until it is known how large they are.
    texts = {chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"}
    others = {chunk.path_in_schema for chunk in chunks if not _BY_DICTIONARY.issuperset(chunk.encodings)}
    stream.seek(0)
    file = pq.ParquetFile(stream, read_dictionary=sorted(path for path in texts - others if "." not in path))
    yield from file.iter_batches(batch_size=_BATCH, use_threads=False)


def _arrow_batches(stream: BinaryIO, source: Source) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if source.head(6) == b"ARROW1":
        with pa.ipc.open_file(stream) as file:
            yield from (file.get_batch(number) for number in range(file.num_record_batches))
    else:
        with pa.ipc.open_stream(stream) as batches:
            yield from batches


def _rows(batches: Iterator[pa.RecordBatch], source: Source) -> Iterator[Row]:
    """The rows of the batches; what they are as text is known before it is made."""
    size = number = 0
    for whole in batches:
        whole.validate(full=True)
        _check_columns(whole.num_columns, source)
        for start in range(0, whole.num_rows, _BATCH):
            batch = whole.slice(start, _BATCH)
            size += _expanded(batch)
            watch_growth(size, source)
            columns = [_values(column) for column in batch.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                yield _row(number, dict(zip(batch.schema.names, cells, strict=True)))


def _row(number: int, value: dict[str, Any]) -> Row:
    if sum(len(cell) for cell in value.values() if isinstance(cell, str)) > ROW_LIMIT:
        return Row(number, number, fault=Fault("row-too-big", f"is longer than {ROW_LIMIT // 1024 // 1024} MiB"))
    return Row(number, number, value)


def _expanded(batch: pa.RecordBatch) -> int:
    """How many bytes the values of a batch are when each is written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_binary(column.type.value_type):
            lengths = pc.binary_length(column.dictionary).cast(pa.int64()).take(column.indices)
            size += pc.sum(lengths).as_py() or 0
        else:
            size += column.nbytes
    return size


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind):
        # Nanoseconds have no Python type of their own.
        column = column.cast(pa.string())
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        values = [_value(scalar) for scalar in column]
    return values if _is_plain(column.type) else [_plain(value, 0) for value in values]


def _value(scalar: pa.Scalar) -> Any:
    """One value; of one that Python has no type for (a date in the year 292,277,026), only what it is."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return {"type": str(scalar.type)}


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _is_plain(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _plain(value: Any, depth: int) -> Any:
    """A value as JSON has it. Bytes that are no text become an object, which no format takes for text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping | list | tuple):
        return _plain_parts(value, depth + 1)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"bytes": len(value)}
    return str(value) if isinstance(value, Decimal | date | time | timedelta) else {"type": type(value).__name__}


def _plain_parts(value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Any:
    if depth > DEPTH_LIMIT:
        raise ValueError(f"a value is nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, Mapping):
        return {str(key): _plain(part, depth) for key, part in value.items()}
    return [_plain(part, depth) for part in value]


def _check_columns(count: int, source: Source) -> None:
    if count > COLUMN_LIMIT:
        raise UnreadableData(
            f"{source.name} has {count:,} columns, expected at most {COLUMN_LIMIT}.",
            hint="Keep the columns to learn from.",
            where=source.name,
        )


@contextmanager
def _faults(source: Source, kind: str) -> Iterator[None]:
    """What pyarrow says of a broken file, in our words: its errors are ValueErrors, TypeErrors and OSErrors."""
    import pyarrow as pa

    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, ValueError, TypeError, OSError, OverflowError) as error:
        raise UnreadableData(
            f"{source.name} cannot be read as a {kind} file: {safe_text(error, limit=200).rstrip('.')}.",
            hint="Write it anew with the program it came from, or as JSON lines.",
            where=source.name,
        ) from error
