"""Compressed files and dataset folders as one plain file: unpacked piece by piece, and never beyond all measure."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from appliance.data.source import Source, find_source
from appliance.errors import BombSuspected, FileNotFound, UnreadableData, UsageError
from appliance.text import safe_text

RATIO = 100
"""A file that grows more than this many times is a bomb, …"""
HARMLESS = 64 * 1024 * 1024
"""… unless it stays below these bytes."""
MOST = 256 * 1024**3
"""Bytes that no file may grow to."""
_CHUNK = 64 * 1024
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_STATE = "state.json"
_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")


def is_dataset_folder(path: Path | str) -> bool:
    """Whether this is a folder that ``save_to_disk`` of Hugging Face's datasets wrote."""
    return (Path(path) / _STATE).is_file() or (Path(path) / "dataset_dict.json").is_file()


def open_up(source: Source, folder: Path) -> Source:
    """The file itself, or what is in it when it is compressed, as a file in ``folder``.

    Raises ``UnreadableData`` and ``BombSuspected``.
    """
    head = source.head(4)
    if head[:2] == _GZIP:
        pieces = _gunzip
    elif head == _ZSTD:
        pieces = _unzstd
    else:
        return source
    suffix = next((end for end in _SUFFIXES if source.name.lower().endswith(end)), "")
    target = folder / "unpacked"
    size = 0
    with source.open() as packed, target.open("wb") as stream:
        for piece in pieces(packed, source):
            size += len(piece)
            watch_growth(size, source)
            stream.write(piece)
    if size == 0:
        raise UnreadableData(f"{source.name} has nothing in it.", where=source.name)
    return replace(source, path=target, name=source.name[: len(source.name) - len(suffix)], size=size)


def watch_growth(size: int, source: Source) -> None:
    """Raise ``BombSuspected`` when ``size`` bytes are more than can honestly be in the file."""
    if size <= max(HARMLESS, RATIO * source.size) and size <= MOST:
        return
    raise BombSuspected(
        f"{source.name} grows from {source.size:,} bytes to more than {size:,}.",
        hint=f"Files may grow {RATIO} times. If this one is honest, unpack it yourself and give what was in it.",
        where=source.name,
    )


def join_folder(path: Path, folder: Path) -> Source:
    """The tables of a dataset folder one after another, as one Arrow file in ``folder``.

    Raises ``UnreadableData``, ``FileNotFound`` and ``UsageError``.
    """
    if find_spec("pyarrow") is None:
        raise UsageError("A dataset folder needs pyarrow, which is not installed.", hint="pip install pyarrow")
    target = folder / "joined.arrow"
    parts = [find_source(path / name) for name in _parts(path)]
    try:
        _join(parts, target)
    except (ValueError, TypeError, OSError) as error:
        raise UnreadableData(f"{path} is not a readable dataset folder: {safe_text(error, limit=200)}.") from error
    return replace(find_source(target), name=f"{path.name}.arrow")


def _parts(path: Path) -> list[str]:
    """The names of the files of a dataset folder in order, which are names and nothing else."""
    if not (path / _STATE).is_file():
        splits = _object(path / "dataset_dict.json").get("splits")
        known = [safe_text(name, limit=40) for name in splits if isinstance(name, str)] if splits else []
        raise UnreadableData(
            f"{path} holds the splits {', '.join(known)}, and one is wanted.",
            hint=f"Name one of them: {path}/{known[0] if known else 'SPLIT'}",
            where=str(path),
        )
    state = _object(path / _STATE)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise UnreadableData(
            f"{path} holds an order beside its rows.",
            hint="Call flatten_indices() before save_to_disk().",
            where=str(path),
        )
    files = state.get("_data_files")
    names = [entry.get("filename") for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise UnreadableData(f"{path / _STATE} names no data files.", where=str(path / _STATE))
    return [str(name) for name in names]


def _object(path: Path) -> dict[str, Any]:
    try:
        with find_source(path).open() as stream:
            value = json.loads(stream.read(1024 * 1024))
    except (FileNotFound, ValueError, RecursionError) as error:
        raise UnreadableData(f"{path} is not readable: {safe_text(error, limit=120)}.", where=str(path)) from error
    return value if isinstance(value, dict) else {}


def _join(parts: list[Source], target: Path) -> None:
    import pyarrow as pa

    writer = None
    with target.open("wb") as sink:
        for part in parts:
            with part.open() as stream, pa.ipc.open_stream(stream) as batches:
                writer = writer or pa.ipc.new_stream(sink, batches.schema)
                for batch in batches:
                    batch.validate(full=True)
                    writer.write_batch(batch)
        if writer is not None:
            writer.close()


def _gunzip(packed: BinaryIO, source: Source) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        while data := packed.read(_CHUNK):
            while data:
                yield unpacker.decompress(data, 1024 * 1024)
                data = unpacker.unconsumed_tail
            if unpacker.eof:
                break
    except zlib.error as error:
        raise _broken(source, error) from error
    if not unpacker.eof:
        raise _broken(source, "it ends in the middle")
    if unpacker.unused_data.strip(b"\0") or packed.read(1):
        raise _broken(source, "more than one file is in it")


def _unzstd(packed: BinaryIO, source: Source) -> Iterator[bytes]:
    if find_spec("pyarrow") is None:
        raise UsageError(f"{source.name} is compressed with zstd, which needs pyarrow.", hint="pip install pyarrow")
    import pyarrow as pa

    try:
        # Closing the stream closes the file under it, so it is given one of its own.
        own = os.fdopen(os.dup(packed.fileno()), "rb")
        with pa.CompressedInputStream(pa.PythonFile(own, mode="r"), "zstd") as stream:
            while data := stream.read(1024 * 1024):
                yield data
    except (OSError, ValueError) as error:
        raise _broken(source, error) from error


def _broken(source: Source, why: object) -> UnreadableData:
    return UnreadableData(
        f"{source.name} cannot be unpacked: {safe_text(why, limit=120)}.",
        hint="Unpack it yourself and give what was in it.",
        where=source.name,
    )
