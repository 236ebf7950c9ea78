"""The only way anything is persisted.

A file: write beside it → fsync → rename → fsync the folder. A folder: write every file into a staging folder
beside it → fsync each → write and fsync ``MANIFEST.json`` with the sha256 of each → fsync the folders → rename
→ fsync the parent. At any instant a reader finds the old thing or the new thing, and after ``rename`` returned
and the parent was synced, the new one also after a power cut. Leftovers begin with ``.partial-`` and are swept.

Every primitive announces itself with the audit event ``luthier.durable``, so that a test can record the order
of the operations and replay every prefix of it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import CorruptFolder, DiskFull

PARTIAL = ".partial-"
MANIFEST = "MANIFEST.json"
_FULL = {errno.ENOSPC, errno.EDQUOT}
# Libraries that write files themselves report a full disk as text: safetensors (os error 28), torch.
_FULL_TEXTS = ("os error 28", "No space left on device", "unexpected pos")


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, durably. Raises ``DiskFull``."""
    staged = _staged(path)
    with disk_errors(path):
        try:
            _write_synced(staged, data)
            _rename(staged, path)
            sync_folder(path.parent)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by UTF-8 ``text``, durably."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as readable JSON, durably."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def make_folder(path: Path) -> None:
    """Create ``path`` and its missing parents, and sync each folder that got a new name in it."""
    missing = [path, *path.parents]
    missing = [folder for folder in missing if not folder.exists()]
    with disk_errors(path):
        for folder in reversed(missing):
            sys.audit("luthier.durable", "mkdir", str(folder), None)
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(folder.parent)


@contextmanager
def folder(final: Path) -> Iterator[Path]:
    """Yield a staging folder that becomes ``final`` when the block ends well, and vanishes when it does not.

    ``final`` must not exist yet: a committed folder is never changed. Raises ``DiskFull`` and ``FileExistsError``.
    """
    if final.exists():
        raise FileExistsError(f"{final} is already committed.")
    make_folder(final.parent)
    staged = _staged(final)
    with disk_errors(final):
        try:
            sys.audit("luthier.durable", "mkdir", str(staged), None)
            staged.mkdir(mode=0o700)
            yield staged
            _seal(staged)
            _rename(staged, final)
            sync_folder(final.parent)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise


def verify_folder(path: Path) -> dict[str, Any]:
    """Check a committed folder against its manifest and return the manifest. Raises ``CorruptFolder``."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
        expected = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFolder(f"{path} has no readable {MANIFEST} ({error}).") from error
    found = {str(file.relative_to(path)) for file in _files(path)} - {MANIFEST}
    if found != set(expected):
        odd = sorted(found.symmetric_difference(expected))
        raise CorruptFolder(f"{path} does not hold the files of its manifest: {', '.join(odd[:5])}.")
    for name, (size, digest) in expected.items():
        file = path / name
        if file.stat().st_size != size or sha256_file(file) != digest:
            raise CorruptFolder(f"{file} is not what was written: its sha256 differs from the manifest.")
    return manifest


def sweep(parent: Path) -> list[Path]:
    """Remove what an earlier process left half-written directly in ``parent``; returns what was removed."""
    leftovers = sorted(parent.glob(f"{PARTIAL}*")) if parent.is_dir() else []
    for leftover in leftovers:
        remove(leftover)
    return leftovers


def remove(path: Path) -> None:
    """Remove a file or folder. A folder loses its name first, so that no reader finds half of it."""
    if path.is_dir() and not path.is_symlink():
        doomed = path if path.name.startswith(PARTIAL) else _staged(path)
        if doomed != path:
            _rename(path, doomed)
            sync_folder(path.parent)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    sync_folder(path.parent)


def append_line(descriptor: int, line: str, *, sync: bool = False) -> None:
    """Append one line in a single write to a descriptor opened with ``O_APPEND``."""
    data = line.encode("utf-8") + b"\n"
    sys.audit("luthier.durable", "append", descriptor, data)
    with disk_errors(None):
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, "Only a part of the line could be written.")
        if sync:
            os.fsync(descriptor)


def sha256_file(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    sys.audit("luthier.durable", "fsyncdir", str(path), None)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path | None) -> Iterator[None]:
    """Turn each of the ways a full disk shows itself into ``DiskFull``."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        number = getattr(error, "errno", None)
        if number not in _FULL and not any(text in str(error) for text in _FULL_TEXTS):
            raise
        place = f" while writing {path}" if path else ""
        raise DiskFull(
            f"The disk is full{place}.",
            hint="Free some space, then resume or rerun the job; what was saved before is intact.",
            where=str(path) if path else None,
        ) from error


def _staged(path: Path) -> Path:
    return path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")


def _write_synced(path: Path, data: bytes) -> None:
    sys.audit("luthier.durable", "write", str(path), data)
    with open(path, "wb", opener=_private) as stream:
        stream.write(data)
        stream.flush()
        sys.audit("luthier.durable", "fsync", str(path), None)
        os.fsync(stream.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _seal(staged: Path) -> None:
    """Sync what was written into a staging folder and write its manifest."""
    files = sorted(_files(staged))
    entries = {}
    for file in files:
        _sync_file(file)
        entries[str(file.relative_to(staged))] = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
    manifest = {"schema": "luthier.manifest/1", "files": entries}
    _write_synced(staged / MANIFEST, json.dumps(manifest, indent=1).encode())
    for inner in {file.parent for file in files} | {staged}:
        sync_folder(inner)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sys.audit("luthier.durable", "write", str(path), None)
        sys.audit("luthier.durable", "fsync", str(path), None)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(source: Path, target: Path) -> None:
    sys.audit("luthier.durable", "rename", str(source), str(target))
    source.rename(target)


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())
