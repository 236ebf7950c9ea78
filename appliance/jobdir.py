"""A job is a folder: the only place that knows the names of the files in it.

job.json                 spec, plan, inputs, fingerprint, sha256: written once, before the first attempt
attempts/1/              log.txt · lease (flock) · result.json (worker) · exit.json (shim)
events.jsonl             append-only, rank 0 only
checkpoints/step-000200/ safetensors + JSON, MANIFEST.json
artifacts/               what the job made
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import Conflict, CorruptFolder, FileNotFound
from appliance.text import now_iso

SCHEMA = "luthier.jobdir/1"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one job is, frozen before its first attempt."""

    id: str
    kind: str
    name: str
    spec: Mapping[str, Any]
    """The part of the spec this kind reads."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What earlier jobs made: paths of datasets, base models, adapters; addresses on loopback."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    """``luthier.plan/1`` for kinds that need one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The machine's settings by section, as they were when the job was first started."""
    device: str | None = None
    ranks: int = 1
    pipeline: str | None = None
    created_at: str = field(default_factory=now_iso)

    def as_dict(self) -> dict[str, Any]:
        body = {"schema": SCHEMA, **asdict(self)}
        return body | {"sha256": _digest(body)}


class JobDir:
    """The folder of one job."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()

    @property
    def job_file(self) -> Path:
        return self.path / "job.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    def attempt(self, number: int) -> Path:
        return self.path / "attempts" / str(number)

    def lease(self, number: int) -> Path:
        return self.attempt(number) / "lease"

    def log(self, number: int) -> Path:
        return self.attempt(number) / "log.txt"

    def result_file(self, number: int) -> Path:
        return self.attempt(number) / "result.json"

    def exit_file(self, number: int) -> Path:
        return self.attempt(number) / "exit.json"

    def last_attempt(self) -> int:
        """The highest attempt that has a folder, 0 when there is none."""
        folder = self.path / "attempts"
        numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
        return max(numbers, default=0)

    def create(self, job: Job) -> None:
        """Write ``job.json``. Raises ``Conflict`` when it exists with another content."""
        if self.job_file.exists():
            if self.read() != job:
                raise Conflict(f"{self.job_file} is already written and never changed.")
            return
        durable.make_folder(self.path)
        durable.write_json(self.job_file, job.as_dict())

    def read(self) -> Job:
        """Read ``job.json``. Raises ``FileNotFound`` and ``CorruptFolder``."""
        try:
            body = json.loads(self.job_file.read_bytes())
        except FileNotFoundError as error:
            raise FileNotFound(f"{self.path} is not a job folder: it has no job.json.") from error
        except ValueError as error:
            raise CorruptFolder(f"{self.job_file} is not JSON: {error}.") from error
        digest = body.pop("sha256", None)
        if digest != _digest(body):
            raise CorruptFolder(f"{self.job_file} was changed after it was written: its sha256 differs.")
        body.pop("schema", None)
        return Job(**body)

    def read_result(self, number: int) -> dict[str, Any] | None:
        """What the worker's last act said, or None when it did not get that far."""
        return _read_json(self.result_file(number))

    def read_exit(self, number: int) -> dict[str, Any] | None:
        """What the shim said of the process: code, signal, peak memory; None while it runs or if the shim died."""
        return _read_json(self.exit_file(number))


def take_lease(path: Path) -> int | None:
    """Lock a lease file; returns the descriptor that holds it, or None when another process does.

    The lock goes with the process that holds it, whatever happens to that process, and cannot be confused by
    a process id used again (flock(2)).
    """
    durable.make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_leased(path: Path) -> bool:
    """Whether some process holds the lease."""
    if not path.exists():
        return False
    descriptor = take_lease(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
