"""Starting, watching and signalling shims. It knows processes and job folders, and nothing of the queue.

A lease is taken here and handed to the shim as an open descriptor, so there is no instant at which an attempt
runs without one: a daemon that is killed right after starting a shim cannot make the next one start it twice.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import Conflict
from appliance.jobdir import JobDir, is_leased, take_lease
from appliance.launch import child_environment, python
from scheduler.shim import kill_marked

logger = logging.getLogger(__name__)
GRACE = 30.0
"""Seconds a worker gets between the first request to stop and the one that kills it."""


@dataclass
class Watch:
    """One attempt that is alive as far as we know."""

    folder: JobDir
    attempt: int
    process: subprocess.Popen[bytes] | None = None
    """The shim, when this daemon started it; an adopted one is known by its lease only."""
    unwanted: bool = False
    """Whether it shall stop."""
    asked_at: float | None = None
    """Monotonic time of the first request to stop."""
    insisted: bool = False

    def reaped(self) -> bool:
        """Whether no shim of ours is left; one can outlive its lease file when somebody deletes that."""
        return self.process is None or self.process.poll() is not None


@dataclass
class Supervisor:
    """The attempts that run on this machine."""

    jobs: Path
    worker_command: Sequence[str] | None = None
    """Replaces ``python -m appliance.work`` (or ``serving``), for running other code as a worker."""
    grace: float = GRACE
    patience: float = 5.0
    """Seconds to wait for what a killed shim left behind; a process in a disk's hands cannot be killed."""
    _watched: dict[str, Watch] = field(default_factory=dict)

    def folder(self, job: str) -> JobDir:
        return JobDir(self.jobs / job)

    def launch(self, job: str, attempt: int, environ: Mapping[str, str] | None = None) -> None:
        """Start the shim of an attempt whose ``job.json`` is written. Raises ``Conflict`` when it runs already."""
        folder = self.folder(job)
        durable.make_folder(folder.attempt(attempt))
        lease = take_lease(folder.lease(attempt))
        if lease is None:
            raise Conflict(f"Attempt {attempt} of {job} is running already.")
        arguments = [str(folder.path), str(attempt), "--lease-fd", str(lease)]
        if self.worker_command:
            arguments += ["--worker", json.dumps(list(self.worker_command))]
        try:
            with folder.log(attempt).open("ab") as log:
                process = subprocess.Popen(
                    python("scheduler.shim", *arguments),
                    cwd=folder.path,
                    env=child_environment(environ=environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lease,),
                    start_new_session=True,
                )
        finally:
            os.close(lease)
        self._watched[job] = Watch(folder, attempt, process)

    def adopt(self, job: str, attempt: int) -> bool:
        """Watch an attempt that an earlier daemon started; False when nothing holds its lease."""
        folder = self.folder(job)
        if not is_leased(folder.lease(attempt)):
            return False
        self.keep(job, attempt)
        return True

    def keep(self, job: str, attempt: int) -> None:
        """Tell of an attempt among those that ended, once it has, until it is forgotten."""
        self._watched.setdefault(job, Watch(self.folder(job), attempt))

    def watched(self) -> dict[str, int]:
        """Job → attempt of everything that is watched."""
        return {job: watch.attempt for job, watch in self._watched.items()}

    def ended(self) -> list[tuple[str, int]]:
        """The attempts that are over; no process of theirs is left. They are told of until they are forgotten."""
        over = []
        for job, watch in self._watched.items():
            if is_leased(watch.folder.lease(watch.attempt)) or not watch.reaped():
                continue
            self.clean(job, watch.attempt)
            over.append((job, watch.attempt))
        return over

    def exit_record(self, job: str, attempt: int) -> dict[str, Any] | None:
        """``exit.json``, or what the shim's own status says when the disk had no room for that."""
        watch = self._watched.get(job)
        no_room = watch and watch.attempt == attempt and watch.process and watch.process.poll() == os.EX_IOERR
        return self.folder(job).read_exit(attempt) or ({"code": os.EX_IOERR, "signal": None} if no_room else None)

    def forget(self, job: str) -> None:
        """Watch an attempt no longer."""
        self._watched.pop(job, None)

    def clean(self, job: str, attempt: int) -> None:
        """Kill what a killed shim may have left behind; a shim that ended by itself leaves nothing."""
        folder = self.folder(job)
        if folder.attempt(attempt).is_dir() and folder.read_exit(attempt) is None:
            deadline = time.monotonic() + self.patience
            while left := kill_marked(folder.attempt(attempt)):
                if time.monotonic() > deadline:
                    logger.error("Processes of an attempt do not end.", extra={"job": job, "processes": left})
                    return
                time.sleep(0.01)

    def stop(self, job: str) -> None:
        """Have an attempt stop at its next safe point."""
        watch = self._watched.get(job)
        if watch is not None:
            watch.unwanted = True
            self._press(watch)

    def abandon(self) -> None:
        """Ask every shim of ours to stop without a look at its folder, because the folders are gone."""
        for watch in self._watched.values():
            if watch.process is not None and watch.process.poll() is None:
                watch.process.terminate()

    def press(self) -> None:
        """Ask those that could not be asked before, and kill those that were asked and did not stop in time."""
        for watch in self._watched.values():
            self._press(watch)

    def pid(self, job: str) -> int | None:
        """The process id of a running attempt's first worker."""
        watch = self._watched.get(job)
        pids = _pids(watch) if watch else None
        return pids[1] if pids else None

    def _press(self, watch: Watch) -> None:
        if watch.unwanted and watch.asked_at is None:
            watch.asked_at = time.monotonic() if self._signal(watch) else None
        elif watch.asked_at is not None and not watch.insisted and time.monotonic() - watch.asked_at > self.grace:
            watch.insisted = self._signal(watch)

    def _signal(self, watch: Watch) -> bool:
        """SIGTERM to the shim; False while it has not said who it is, or when it is gone."""
        pids = _pids(watch)
        if pids is None or not is_leased(watch.folder.lease(watch.attempt)):
            return False
        try:
            os.kill(pids[0], signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True


def _pids(watch: Watch) -> tuple[int, int] | None:
    """The shim and its first worker, once the shim has written them down."""
    try:
        body = json.loads((watch.folder.attempt(watch.attempt) / "pids.json").read_bytes())
        return int(body["shim"]), int(body["workers"][0])
    except (FileNotFoundError, ValueError, KeyError, IndexError, TypeError):
        return None
