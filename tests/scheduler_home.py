"""An installation for tests of the scheduler: its folders, its daemon as a real process, and a look at its world."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from appliance.client import Client
from appliance.jobdir import JobDir, is_leased
from appliance.launch import child_environment
from appliance.paths import Paths, find_paths
from appliance.states import ACTIVE, TERMINAL

HERE = Path(__file__).parent
T = TypeVar("T")


class Home:
    """One installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: Paths = find_paths({"LUTHIER_HOME": str(folder)})
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.environ: dict[str, str] = {}

    def start(self, *, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start the daemon, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        env = child_environment(environ=os.environ | {"LUTHIER_HOME": str(self.folder)} | self.environ)
        with (self.folder / "daemon.log").open("ab") as log:
            command = [sys.executable, str(HERE / "scheduler_daemon.py")]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        self.daemons.append(process)
        if wait:
            until(self._answers, "the daemon to answer")
        return process

    def kill(self) -> None:
        """kill -9 of the daemon."""
        self.daemons[-1].kill()
        self.daemons[-1].wait()

    @contextmanager
    def client(self) -> Iterator[Client]:
        with Client(self.paths) as client:
            yield client

    def job(self, id_: str) -> dict[str, Any]:
        with self.client() as client:
            return client.job(id_)

    def ended(self, id_: str, seconds: float = 60) -> dict[str, Any]:
        """The job, once it has ended."""
        return until(lambda: found if (found := self.job(id_))["state"] in TERMINAL else None, f"{id_} to end", seconds)

    def running(self, id_: str) -> dict[str, Any]:
        """The job, once its worker has begun to work."""
        return until(lambda: found if (found := self.job(id_))["progress"] else None, f"{id_} to be under way")

    def pids(self, id_: str, attempt: int = 1) -> dict[str, Any]:
        """Who runs an attempt."""
        path = JobDir(self.paths.jobs / id_).attempt(attempt) / "pids.json"
        until(path.exists, f"{path} to be written")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def train(self, **spec: Any) -> str:
        """Queue a job of kind train that counts; returns its id."""
        with self.client() as client:
            return str(client.submit("train", {"training": spec}, name="counting")["id"])

    def rows(self, name: str = "rows.jsonl") -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
        return str(path)

    def processes(self) -> list[int]:
        """Every process that belongs to an attempt of this installation."""
        mark = os.fsencode(f"LUTHIER_ATTEMPT={self.paths.jobs}/")
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _environ(pid)]

    def check(self) -> None:
        """No job runs more than once, and none runs that has ended; asked when the queue is at rest."""
        with self.client() as client:
            for row in client.jobs():
                folder = JobDir(row["folder"])
                leased = [n for n in range(1, folder.last_attempt() + 1) if is_leased(folder.lease(n))]
                assert bool(leased) == (row["state"] in ACTIVE), f"{row['id']} is {row['state']} with leases {leased}"
                assert len(leased) <= 1, f"{row['id']} runs more than once"

    def check_database(self) -> None:
        """The database is sound; only while no daemon has it open."""
        with sqlite3.connect(self.paths.database) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

    def close(self) -> None:
        """End the daemon and everything it left running."""
        for process in self.daemons:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.daemons:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        while found := self.processes():
            for pid in found:
                send(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Whether a daemon listens; a socket that a killed one left behind is only a file."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.paths.socket))
            except OSError:
                return False
        with self.client() as client:
            client.status()
        return True


def until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Wait for something to become true; the time only bounds a test that would never end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def alive(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
