"""Opening a stranger's file: regular files only, by one descriptor, and noticing when it changes underneath."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.errors import FileNotFound, UnreadableData

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """One file to be taken in."""

    path: Path
    name: str
    """What messages call it; a stored copy keeps the name of the original."""
    size: int
    """In bytes."""

    def place(self, line: int | None = None) -> str:
        """``name:line``, as editors understand it."""
        return self.name if line is None else f"{self.name}:{line}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes from the beginning. Raises ``UnreadableData`` when it changed while it was read."""
        with safe_open(self.path) as stream:
            before = os.fstat(stream.fileno())
            if before.st_size != self.size:
                raise _changed(self)
            yield stream
            after = os.fstat(stream.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise _changed(self)

    def head(self, count: int) -> bytes:
        """Its first bytes."""
        with safe_open(self.path) as stream:
            return stream.read(count)


def find_source(path: Path | str, name: str | None = None) -> Source:
    """Look at a file. Raises ``FileNotFound`` and, for anything but a file with something in it, ``UnreadableData``."""
    path = Path(path).absolute()
    with safe_open(path) as stream:
        size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise UnreadableData(
            f"{path} is empty.", hint="Give a file with one example a line or row.", where=name or path.name
        )
    return Source(path, name or path.name, size)


def file_size(path: Path | str | None) -> int:
    """How large a file is, in bytes, or the files of a folder together; 0 when there is none to ask."""
    try:
        if path is None or not Path(path).is_dir():
            return 0 if path is None else Path(path).stat().st_size
        return sum(inner.stat().st_size for inner in Path(path).iterdir())
    except (OSError, ValueError):
        return 0


def safe_open(path: Path) -> BinaryIO:
    """Open a regular file for reading. Links, pipes, devices and folders are refused without being waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise FileNotFound(
            f"There is no file {path}.", hint="Check the path; it is taken from the folder you are in.", where=str(path)
        ) from error
    except OSError as error:
        raise _refused(path, error) from error
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = next((words for test, words in _KINDS if test(kind)), "not a file")
    raise UnreadableData(f"{path} is {what}, expected a file.", hint="Name the file itself.", where=str(path))


def copy_source(source: Source, target: BinaryIO) -> str:
    """Write the bytes of ``source`` to ``target`` and return their sha256. Raises ``UnreadableData``."""
    digest = hashlib.sha256()
    with source.open() as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def _changed(source: Source) -> UnreadableData:
    return UnreadableData(
        f"{source.name} changed while it was read.",
        hint="Wait until it is complete, then try again.",
        where=source.name,
    )


def _refused(path: Path, error: OSError) -> UnreadableData:
    if error.errno == errno.ELOOP:
        return UnreadableData(
            f"{path} is a symbolic link, expected a file.",
            hint=f"Name what it points to: {os.path.realpath(path)}",
            where=str(path),
        )
    return UnreadableData(f"{path} cannot be opened: {error.strerror}.", where=str(path))
