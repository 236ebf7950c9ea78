"""Every failure Luthier can name, as one tree.

    LuthierError
    ├── JobFailed            1   Interrupted · WorkerDied · OutOfMemory · DiskFull · Diverged · PlanMismatch
    ├── UsageError           2   InvalidSpec · InvalidConfig · InvalidRequest · UnknownName · InvalidBaseModel
    ├── DaemonUnreachable    3
    ├── NotFound             4   FileNotFound
    ├── Conflict             5   IllegalTransition
    ├── NotPermitted         6   NetworkNotAllowed
    ├── DoesNotFit           7
    ├── DataRejected         8   UnreadableData · ParserCrashed · BombSuspected
    ├── VerificationFailed   9   CorruptFolder · ParityFailed · GateRefused
    ├── TimedOut           124
    └── Bug                 70

The number is the exit status of the command line. Every class has a stable kebab-case ``code``, which is
part of the API. Whatever is not a ``LuthierError`` is a bug of ours; across a process or a socket it is a ``Bug``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any


class LuthierError(Exception):
    """A failure that has a name, a place, and something the reader can do about it."""

    code: str = "failed"
    exit_status: int = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        where: str | None = None,
        fixes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.fixes = [dict(fix) for fix in fixes]

    def as_dict(self) -> dict[str, Any]:
        """The error as ``luthier.error/1``."""
        return {
            "schema": "luthier.error/1",
            "code": self.code,
            "exit_status": self.exit_status,
            "message": self.message,
            "hint": self.hint,
            "where": self.where,
            "fixes": self.fixes,
        }


class JobFailed(LuthierError):
    """A job ended without doing what it was asked."""

    code = "job-failed"


class Interrupted(JobFailed):
    """A job stopped at a safe point because it was asked to; it can be resumed."""

    code = "interrupted"


class WorkerDied(JobFailed):
    """A worker ended without writing its result."""

    code = "worker-died"


class OutOfMemory(JobFailed):
    """A device or the host had no memory left."""

    code = "out-of-memory"


class DiskFull(JobFailed):
    """A file could not be written because its file system is full."""

    code = "disk-full"


class Diverged(JobFailed):
    """The loss became infinite or not a number."""

    code = "diverged"


class PlanMismatch(JobFailed):
    """A checkpoint belongs to another spec, dataset or base model than the job that found it."""

    code = "plan-mismatch"


class UsageError(LuthierError):
    """A command, option or value that cannot be understood."""

    code = "usage"
    exit_status = 2


class InvalidSpec(UsageError):
    """A spec or recipe with one or more faults; every fault is listed."""

    code = "invalid-spec"


class InvalidConfig(UsageError):
    """A settings file, variable or flag with a wrong key or value."""

    code = "invalid-config"


class InvalidRequest(UsageError):
    """A request to the daemon that does not have the form it must have."""

    code = "invalid-request"


class UnknownName(UsageError):
    """A name that no registry, recipe or catalogue has."""

    code = "unknown-name"


class InvalidBaseModel(UsageError):
    """A base model folder that cannot be used."""

    code = "invalid-base-model"


class DaemonUnreachable(LuthierError):
    """No daemon answers on the control socket."""

    code = "daemon-unreachable"
    exit_status = 3


class NotFound(LuthierError):
    """A thing that does not exist here."""

    code = "not-found"
    exit_status = 4


class FileNotFound(NotFound):
    """A file or folder that does not exist or is not of the kind expected."""

    code = "file-not-found"


class Conflict(LuthierError):
    """A request that does not go with the present state."""

    code = "conflict"
    exit_status = 5


class IllegalTransition(Conflict):
    """A change of state that the table of transitions does not allow."""

    code = "illegal-transition"


class NotPermitted(LuthierError):
    """A request that this person may not make."""

    code = "not-permitted"
    exit_status = 6


class NetworkNotAllowed(NotPermitted):
    """Something that needs the network while Luthier is offline."""

    code = "network-not-allowed"


class DoesNotFit(LuthierError):
    """A job that needs more memory or disk than this machine has."""

    code = "does-not-fit"
    exit_status = 7


class DataRejected(LuthierError):
    """A dataset that cannot be trained on."""

    code = "data-rejected"
    exit_status = 8


class UnreadableData(DataRejected):
    """A dataset file that cannot be parsed."""

    code = "unreadable-data"


class ParserCrashed(DataRejected):
    """A dataset file whose reading ended the process that read it, or reached its limits."""

    code = "parser-crashed"


class BombSuspected(DataRejected):
    """A dataset file that would grow beyond all measure when it is unpacked."""

    code = "bomb-suspected"


class VerificationFailed(LuthierError):
    """A check of something made turned out red."""

    code = "verification-failed"
    exit_status = 9


class CorruptFolder(VerificationFailed):
    """A committed folder whose files do not match its manifest."""

    code = "corrupt-folder"


class ParityFailed(VerificationFailed):
    """An export that does not answer like the trained model."""

    code = "parity-failed"


class GateRefused(VerificationFailed):
    """A model that is not proven better, where the gate was required."""

    code = "gate-refused"


class TimedOut(LuthierError):
    """A wait that was longer than allowed; what was waited for goes on."""

    code = "timed-out"
    exit_status = 124


class Bug(LuthierError):
    """An exception nobody foresaw, in a worker or in the daemon."""

    code = "bug"
    exit_status = 70


def error_classes(root: type[LuthierError] = LuthierError) -> Iterator[type[LuthierError]]:
    """The tree, depth first."""
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def error_from_dict(data: Mapping[str, Any]) -> LuthierError:
    """The error that ``as_dict`` described; one that this release has no class for keeps its code."""
    by_code = {cls.code: cls for cls in error_classes()}
    code = str(data.get("code") or LuthierError.code)
    cls = by_code.get(code, LuthierError)
    message = str(data.get("message") or data.get("detail") or data.get("code") or "unknown error")
    error = cls(message, hint=data.get("hint"), where=data.get("where"), fixes=data.get("fixes") or ())
    error.code = code
    if type(error) is LuthierError and isinstance(data.get("exit_status"), int):
        error.exit_status = data["exit_status"]
    return error


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, if one is close enough to suggest."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a wrong name: says what exists and which is nearest."""
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"Did you mean '{guess}'?" if guess else None
    return UnknownName(f"No {what} is named '{name}'. Known: {', '.join(names)}.", hint=hint)
