"""The pulse in this process, on a real database with real shims, while the disk has no room."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scheduler_home import until

from appliance import durable
from appliance.errors import DiskFull
from appliance.jobdir import Job, JobDir
from appliance.launch import child_environment
from appliance.paths import find_paths
from appliance.settings import load_settings
from appliance.states import JobState
from scheduler import queue
from scheduler.dispatch import Dispatch
from scheduler.endpoint import Endpoint
from scheduler.placement import Capacity
from scheduler.reconcile import reconcile
from scheduler.store import jobs
from scheduler.store.database import Database
from scheduler.store.tables import JobRow
from scheduler.supervisor import Supervisor

WORKER = Path(__file__).parent.parent / "scheduler_worker.py"
JOB = "j-aaaaaa"
full: list[str] = []
"""Names of files for which there is no room."""


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if full and event == "luthier.durable" and arguments[0] == "write" and Path(str(arguments[1])).match(full[0]):
        raise OSError(errno.ENOSPC, "No space left on device")


sys.addaudithook(_refuse)


@pytest.fixture
def dispatch(home: Path) -> Iterator[Dispatch]:
    paths = find_paths({"LUTHIER_HOME": str(home)})
    database = Database(paths)
    durable.make_folder(paths.jobs)
    supervisor = Supervisor(paths.jobs, [sys.executable, str(WORKER)])
    made = Dispatch(database, supervisor, load_settings(paths.config_file), Capacity(("cpu",), 2), Endpoint(supervisor))
    yield made
    full.clear()
    database.close()


def put(dispatch: Dispatch, **values: object) -> None:
    with dispatch.database.write() as session:
        jobs.add(session, JobRow(id=JOB, **({"kind": "plan", "state": "queued", "name": "n"} | values)))
    dispatch.dirty = True


def row(dispatch: Dispatch) -> JobRow:
    with dispatch.database.read() as session:
        return jobs.get(session, JOB)


def ended(dispatch: Dispatch) -> bool:
    dispatch.step()
    return row(dispatch).state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def test_a_job_there_is_no_room_for_waits_in_the_queue_and_starts_when_there_is(dispatch: Dispatch) -> None:
    put(dispatch)
    full.append("*job.json*")
    for _ in range(3):
        with pytest.raises(DiskFull):
            dispatch.step()
    full.clear()
    until(lambda: ended(dispatch), "the job to end")
    assert (row(dispatch).state, row(dispatch).attempts) == (JobState.SUCCEEDED, 1)


def test_a_job_cancelled_while_there_is_no_room_for_it_is_not_started(dispatch: Dispatch) -> None:
    put(dispatch)
    full.append("*job.json*")
    with pytest.raises(DiskFull):
        dispatch.step()
    with dispatch.database.write() as session:
        queue.cancel(session, JOB)
    dispatch.step()
    assert (row(dispatch).state, row(dispatch).attempts) == (JobState.CANCELLED, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB, where root may make one."""
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path) -> None:
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(b"\0" * (free.f_bavail * free.f_frsize))


def test_a_worker_and_its_shim_on_a_full_disk_say_so_by_their_status(small_disk: Path) -> None:
    folder = JobDir(small_disk / JOB)
    folder.create(Job(id=JOB, kind="plan", name="n", spec={}))
    durable.make_folder(folder.attempt(1))
    fill(small_disk)
    for command in ([str(WORKER), str(folder.path), "--attempt", "1"], ["-m", "scheduler.shim", str(folder.path), "1"]):
        ended = subprocess.run([sys.executable, *command], env=child_environment(), check=False)
        assert ended.returncode == 74, command
    assert folder.read_result(1) is None


def test_a_job_whose_end_found_no_room_fails_for_the_disk(dispatch: Dispatch, small_disk: Path) -> None:
    dispatch.supervisor.jobs = small_disk
    put(dispatch, kind="train", name="sleep")
    dispatch.step()
    until(lambda: (small_disk / JOB / "events.jsonl").exists(), "the worker to begin")
    until(lambda: dispatch.supervisor.pid(JOB), "the shim to have said who it is")
    fill(small_disk)
    dispatch.supervisor.stop(JOB)
    until(lambda: ended(dispatch), "the job to end")
    error = row(dispatch).error or {}
    assert (row(dispatch).state, error["code"], row(dispatch).attempts) == (JobState.FAILED, "disk-full", 1)


def test_the_time_of_the_next_look_is_that_of_a_job_that_waits_and_of_no_other(dispatch: Dispatch) -> None:
    put(dispatch, kind="train", name="crash")
    until(lambda: looked(dispatch) == (JobState.QUEUED, 1, False), "the second attempt to be put off")
    until(lambda: looked(dispatch)[1:] == (2, True), "the second attempt to begin, with no look left over")
    until(lambda: looked(dispatch) == (JobState.QUEUED, 2, False), "the third attempt to be put off")
    with dispatch.database.write() as session:
        queue.cancel(session, JOB)
    assert looked(dispatch) == (JobState.CANCELLED, 2, True)


def looked(dispatch: Dispatch) -> tuple[str, int, bool]:
    """The job's state and attempts after a look at the queue, and whether no time is set for the next look."""
    dispatch.dirty = True
    dispatch.step()
    found = row(dispatch)
    return found.state, found.attempts, dispatch._look_again == math.inf


def test_files_of_one_job_that_cannot_be_read_hold_up_no_other(dispatch: Dispatch) -> None:
    put(dispatch)
    dispatch.step()
    folder = dispatch.supervisor.folder(JOB)
    until(lambda: folder.read_exit(1), "the attempt to end")
    kept = folder.result_file(1).read_bytes()
    for file in (folder.events, folder.result_file(1)):
        file.unlink()
        file.mkdir()
    with dispatch.database.write() as session:
        jobs.add(session, JobRow(id="j-bbbbbb", kind="plan", state="queued", name="other"))

    def other() -> bool:
        dispatch.dirty = True
        dispatch.follower.look()
        dispatch.step()
        with dispatch.database.read() as session:
            return jobs.get(session, "j-bbbbbb").state == JobState.SUCCEEDED

    until(other, "the other job to succeed")
    assert row(dispatch).state == JobState.RUNNING
    folder.result_file(1).rmdir()
    folder.result_file(1).write_bytes(kept)
    until(lambda: ended(dispatch), "the job to be settled")
    assert row(dispatch).state == JobState.SUCCEEDED


def test_a_daemon_begins_although_the_files_of_a_job_it_takes_over_cannot_be_read(
    dispatch: Dispatch, home: Path
) -> None:
    put(dispatch, state="running", attempts=1)
    folder = dispatch.supervisor.folder(JOB)
    durable.make_folder(folder.result_file(1))
    reconcile(dispatch.database, dispatch, find_paths({"LUTHIER_HOME": str(home)}))
    dispatch.step()
    assert row(dispatch).state == JobState.RUNNING
    folder.result_file(1).rmdir()
    durable.write_json(folder.result_file(1), {"ok": True, "result": {}})
    dispatch.step()
    assert row(dispatch).state == JobState.SUCCEEDED
