"""Reading a stranger's file where it can do no harm: in a child that may use so much and no more, and has no network.

The child is a fork, so that it begins at once; it must be made before any library with threads is loaded, and loads
what it needs itself. What goes wrong in it by name comes back as that error. A crash, or a limit that is reached, is
``ParserCrashed``.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from appliance.durable import disk_errors
from appliance.errors import LuthierError, ParserCrashed, error_from_dict

Tell = Callable[[Any], None]
"""Called in the child with a JSON value; the parent gets it."""
_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_NO_MEMORY, _TOO_MUCH_WRITTEN, _BUG = 96, 97, 70
_POLL = 0.5
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


@dataclass(frozen=True)
class Limits:
    """What a child may use."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int
    """Size of any one file it writes."""
    wall_seconds: float


def limits_for(size: int) -> Limits:
    """Enough for any honest file of ``size`` bytes, many times over.

    A megabyte takes about a second of one core from reading to the written splits, and memory grows by the rows
    (some 200 bytes each).
    """
    cpu = 60 + 20 * (size // _MIB)
    return Limits(cpu, 3 * _GIB + 16 * size, _GIB + 16 * size, 60 + 8.0 * cpu)


def run_caged(
    work: Callable[[Tell], Any], limits: Limits, heard: Callable[[Any], None] | None = None, what: str = "the file"
) -> Any:
    """The JSON value that ``work`` returns in a child of its own; ``heard`` is given what it tells meanwhile.

    ``heard`` is called now and then with None too, and may raise to end the child. Raises what ``work`` raised, if
    it was a ``LuthierError``, and ``ParserCrashed``.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(work, limits, writing, parent)
    os.close(writing)
    status = None
    try:
        result, faults = _hear(_messages(reading, time.monotonic() + limits.wall_seconds), heard)
        status = _reap(child)
    finally:
        os.close(reading)
        if status is None:
            os.kill(child, signal.SIGKILL)
            _reap(child)
    if faults:
        raise error_from_dict(faults[0])
    if status != 0 or not result:
        raise _ended(status, limits, what)
    return result[0]


def network_can_be_cut() -> bool:
    """Whether this system lets a child be without a network."""
    return bool(run_caged(lambda tell: _cut_network(), limits_for(0)))


def _hear(
    messages: Iterator[dict[str, Any] | None], heard: Callable[[Any], None] | None
) -> tuple[list[Any], list[Any]]:
    """The result and the error of a child, each if there was one."""
    result: list[Any] = []
    faults: list[Any] = []
    for message in messages:
        if message is not None and "result" in message:
            result.append(message["result"])
        elif message is not None and "error" in message:
            faults.append(message["error"])
        elif heard is not None:
            heard(None if message is None else message["told"])
    return result, faults


def _messages(reading: int, deadline: float) -> Iterator[dict[str, Any] | None]:
    """What comes through the pipe until its end; None where nothing came for a while. Raises ``ParserCrashed``."""
    rest = b""
    while True:
        if time.monotonic() > deadline:
            raise ParserCrashed(
                "Reading the file took longer than it may.",
                hint="The file is made to be hard to read, or this machine is very busy: try again later.",
            )
        if not select.select([reading], [], [], _POLL)[0]:
            yield None
            continue
        data = os.read(reading, 65536)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _reap(child: int) -> int:
    """The status of a child: negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _ended(status: int, limits: Limits, what: str) -> Exception:
    """What the end of a child without a result means."""
    cpu = f"more than {limits.cpu_seconds:,} seconds of computing"
    words = {
        -signal.SIGXCPU: f"used {cpu}",
        _NO_MEMORY: f"needed more than {limits.memory_bytes / _GIB:.1f} GiB of memory",
        _TOO_MUCH_WRITTEN: f"wrote more than {limits.file_bytes / _GIB:.1f} GiB",
    }.get(status)
    if words is None and status >= 0:
        return RuntimeError(f"The process that reads {what} ended with status {status}; what it said is in the log.")
    if words is None:
        words = f"was ended by {signal.Signals(-status).name}"
    return ParserCrashed(
        f"The process that read {what} {words}.",
        hint="The file is broken or made to do harm; nothing of it was kept. Convert it with the program it came from.",
        where=what,
    )


def _live(work: Callable[[Tell], Any], limits: Limits, writing: int, parent: int) -> NoReturn:
    """The life of a child; it never returns."""
    status = _BUG
    try:
        _confine(limits, parent)

        def send(**message: Any) -> None:
            _write(writing, json.dumps(message).encode() + b"\n")

        try:
            with disk_errors(None):
                send(result=work(lambda told: send(told=told)))
        except LuthierError as error:
            send(error=error.as_dict())
        status = 0
    except MemoryError:
        status = _NO_MEMORY
    except OSError as error:
        if error.errno != errno.EFBIG:
            traceback.print_exc()
        status = {errno.EFBIG: _TOO_MUCH_WRITTEN, errno.ENOMEM: _NO_MEMORY}.get(error.errno or 0, _BUG)
    finally:
        # Whatever else it is, nothing of the parent's is to be unwound here.
        if status == _BUG and sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _confine(limits: Limits, parent: int) -> None:
    """Die with the parent, take the default signals, give the network up, and accept the limits."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(_BUG)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    _cut_network()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for name, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        _, hard = resource.getrlimit(name)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (most, most if name != resource.RLIMIT_CPU else hard))


def _cut_network() -> bool:
    """Go into a network namespace with nothing in it; False where the system does not let us."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # Files are still ours: the namespace knows this user and group by their own numbers.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(text)
        except OSError:
            return True
    return True
