"""The shim: ``python -m scheduler.shim JOBDIR ATTEMPT`` owns the process tree of one attempt of one job.

It outlives the daemon. It holds the lease (an ``flock`` that the kernel drops with the process), starts the worker,
one process a rank, forwards SIGTERM (a second one kills), reaps every descendant, and writes ``exit.json`` as its
last act. If it is killed itself, the kernel kills the worker (PR_SET_PDEATHSIG). Standard library and kernel only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from appliance import durable
from appliance.errors import DiskFull
from appliance.jobdir import JobDir, take_lease

MARK = "LUTHIER_ATTEMPT"
"""Environment variable that marks every process of an attempt with the folder of that attempt."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LEASE_PATIENCE = 2.0
"""Seconds to try for a lease that somebody probes at this instant."""
_STRAGGLERS = 60
"""Seconds the other ranks get after the first has ended well."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
_ALWAYS = {
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")


@dataclass
class Tree:
    """The processes of one attempt."""

    folder: JobDir
    attempt: int
    ranks: list[int] = field(default_factory=list)
    """Process ids, by rank."""
    ended: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Process id → wait status and peak memory in bytes."""
    failed: int | None = None
    """The first rank that ended badly; the others are ended because of it."""
    terms: int = 0

    def on_term(self, _number: int, _frame: FrameType | None) -> None:
        """Hand the first request to stop on; the second one ends everything."""
        self.terms += 1
        if self.terms == 1:
            self.signal(signal.SIGTERM)
        else:
            kill_children()

    def on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        kill_children()

    def signal(self, number: int) -> None:
        for pid in self.ranks:
            if pid not in self.ended:
                _send(pid, number)

    def wait(self) -> None:
        """Reap until every rank has ended; the first rank that fails ends the others."""
        while any(pid not in self.ended for pid in self.ranks):
            pid, status, usage = os.wait4(-1, 0)
            if pid not in self.ranks:
                continue
            self.ended[pid] = (status, usage.ru_maxrss * 1024)
            if status != 0:
                self.failed = self.failed or pid
                self.signal(signal.SIGKILL)
            elif len(self.ended) < len(self.ranks):
                signal.alarm(_STRAGGLERS)

    def record(self, seconds: float) -> dict[str, object]:
        """``exit.json``: how the first rank that failed ended, or rank 0."""
        told = self.failed or self.ranks[0]
        code = os.waitstatus_to_exitcode(self.ended[told][0])
        return {
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "peak_memory_bytes": sum(peak for _, peak in self.ended.values()),
            "seconds": round(seconds, 3),
            "shim_pid": os.getpid(),
            "worker_pid": self.ranks[0],
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one attempt from lease to exit record. Status 5 when it runs already, 74 when there is no room for it."""
    options = _options(argv)
    folder, attempt = JobDir(options.folder), options.attempt
    os.umask(0o077)
    if os.getsid(0) != os.getpid():
        os.setsid()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    durable.make_folder(folder.attempt(attempt))
    lease = options.lease_fd if options.lease_fd is not None else _take(folder.lease(attempt))
    if lease is None:
        sys.stderr.write(f"Attempt {attempt} of {folder.path} is running already.\n")
        return 5
    os.set_inheritable(lease, False)
    tree = Tree(folder, attempt)
    # A request to stop that comes before there is a worker waits until there is one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, tree.on_term)
    signal.signal(signal.SIGALRM, tree.on_alarm)
    begun = time.monotonic()
    try:
        with durable.disk_errors(folder.path):
            launch(tree, json.loads(options.worker) if options.worker else None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            tree.wait()
            end_descendants()
            durable.write_json(folder.exit_file(attempt), tree.record(time.monotonic() - begun))
    except DiskFull as error:
        end_descendants()
        # The log is on the same disk.
        with suppress(OSError):
            sys.stderr.write(f"{error.message}\n")
        return os.EX_IOERR
    return 0


def launch(tree: Tree, command: Sequence[str] | None = None) -> None:
    """Start one process a rank, and write who they are to ``pids.json``."""
    job = tree.folder.read()
    module = "serving" if job.kind == "serve" else "appliance.work"
    arguments = [*(command or (sys.executable, "-m", module)), str(tree.folder.path), "--attempt", str(tree.attempt)]
    online = job.kind == "fetch" and not job.settings.get("network", {}).get("offline", True)
    base = worker_environment(os.environ, tree.folder.attempt(tree.attempt), online=online)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())} if job.ranks > 1 else {}
    with tree.folder.log(tree.attempt).open("ab", buffering=0) as log:
        for rank in range(job.ranks):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job.ranks)} if address else {}
            process = subprocess.Popen(
                arguments,
                cwd=tree.folder.path,
                env={**base, **address, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Safe here: the shim has one thread. It is set on every level, because it is not inherited.
                preexec_fn=_die_with(os.getpid()),
            )
            tree.ranks.append(process.pid)
            # Reaped by Tree.wait; the object must not warn about that.
            process.returncode = 0
    durable.write_json(tree.folder.attempt(tree.attempt) / "pids.json", {"shim": os.getpid(), "workers": tree.ranks})


def worker_environment(environ: Mapping[str, str], attempt: Path, *, online: bool) -> dict[str, str]:
    """What a worker is told by its environment: no secrets, no network, and whose it is.

    Only the one that fetches from the hub, where that is allowed, keeps the hub's token and may connect.
    """
    if online:
        kept = {name: value for name, value in environ.items() if name not in _OFFLINE}
        return {**kept, **_ALWAYS, MARK: str(attempt)}
    kept = {name: value for name, value in environ.items() if name not in _SECRETS}
    return {**kept, **_ALWAYS, **_OFFLINE, MARK: str(attempt)}


def end_descendants() -> None:
    """Kill and reap whatever is left below; orphans come to us, because we are a subreaper."""
    while True:
        kill_children()
        try:
            os.wait4(-1, 0)
        except ChildProcessError:
            return


def kill_children() -> None:
    for pid in _children(os.getpid()):
        _send(pid, signal.SIGKILL)


def kill_marked(attempt: Path) -> list[int]:
    """Kill every process that is marked as part of an attempt whose shim is gone; returns their ids."""
    mark = os.fsencode(f"{MARK}={attempt}")
    killed = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked:
            _send(int(entry.name), signal.SIGKILL)
            killed.append(int(entry.name))
    return killed


def prctl(option: int, value: int) -> None:
    """prctl(2), which Python does not have."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes the worker: its life is bound to ours."""

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _children(pid: int) -> list[int]:
    """The direct children of a process, from the kernel."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _take(lease: Path) -> int | None:
    """The lease; whoever only looks at it holds it for an instant, so that one refusal means nothing."""
    deadline = time.monotonic() + _LEASE_PATIENCE
    while (descriptor := take_lease(lease)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return descriptor


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scheduler.shim", description="Run one attempt of a job.")
    parser.add_argument("folder", type=Path, help="the job folder")
    parser.add_argument("attempt", type=int, help="number of the attempt")
    parser.add_argument("--lease-fd", type=int, help="a descriptor that holds the lease already")
    parser.add_argument("--worker", help="the worker's command line, as a JSON list")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
