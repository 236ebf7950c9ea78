"""The shim alone: the real program, a made-up worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scheduler_home import alive, until

from appliance.jobdir import Job, JobDir, is_leased
from appliance.launch import child_environment
from scheduler.shim import kill_marked, worker_environment
from scheduler.supervisor import Supervisor

SCRIPTS = {
    "ok": "pass",
    "status": "raise SystemExit(3)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "wait": "import time; time.sleep(600)",
    "deaf": "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
    "polite": (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('polite', flush=True);"
        "time.sleep(600)"
    ),
    "orphan": (
        "import os, time\nif os.fork() == 0:\n  os.setsid(); print(os.getpid(), flush=True); time.sleep(600)\n"
        "time.sleep(0.2)"
    ),
    # Written at once: two ranks share one log, and a line in pieces may be interrupted by the other's.
    "ranks": "import os; os.write(1, 'rank {RANK} of {WORLD_SIZE}\\n'.format(**os.environ).encode())",
    "one rank dies": "import os, sys, time; sys.exit(5) if os.environ['RANK'] == '1' else time.sleep(600)",
    "environment": "import json, os; print(json.dumps(dict(os.environ)), flush=True)",
    "memory": "x = bytearray(200 << 20)",
}


def begin(folder: JobDir, script: str, *, ranks: int = 1) -> subprocess.Popen[bytes]:
    job = Job(id="j-shim00", kind="train", name="n", spec={}, ranks=ranks, created_at="2026-01-01T00:00:00.000Z")
    folder.create(job)
    worker = json.dumps([sys.executable, "-c", SCRIPTS[script]])
    command = [sys.executable, "-m", "scheduler.shim", str(folder.path), "1", "--worker", worker]
    return subprocess.Popen(command, env=child_environment(), start_new_session=True)


def log(folder: JobDir) -> str:
    return folder.log(1).read_text() if folder.log(1).exists() else ""


@pytest.fixture
def folder(tmp_path: Path) -> JobDir:
    return JobDir(tmp_path / "j-shim00")


@pytest.mark.parametrize(
    ("script", "code", "number"), [("ok", 0, None), ("status", 3, None), ("killed", None, signal.SIGKILL)]
)
def test_the_exit_record_says_how_the_worker_ended(
    folder: JobDir, script: str, code: int | None, number: int | None
) -> None:
    shim = begin(folder, script)
    assert shim.wait(30) == 0
    record = folder.read_exit(1)
    assert record is not None
    assert (record["code"], record["signal"], record["shim_pid"]) == (code, number, shim.pid)
    assert record["seconds"] >= 0
    assert not is_leased(folder.lease(1))


def test_the_peak_memory_of_the_worker_is_measured(folder: JobDir) -> None:
    begin(folder, "memory").wait(30)
    record = folder.read_exit(1)
    assert record is not None
    assert 200 << 20 < record["peak_memory_bytes"] < 400 << 20


def test_the_lease_is_held_while_the_worker_lives_and_a_second_shim_is_turned_away(folder: JobDir) -> None:
    shim = begin(folder, "wait")
    until((folder.attempt(1) / "pids.json").exists, "the worker to start")
    assert is_leased(folder.lease(1))
    assert begin(folder, "ok").wait(30) == 5
    assert folder.read_exit(1) is None
    shim.send_signal(signal.SIGTERM)
    assert shim.wait(30) == 0


def test_a_request_to_stop_is_handed_to_the_worker(folder: JobDir) -> None:
    shim = begin(folder, "polite")
    until(lambda: "polite" in log(folder), "the worker to listen")
    shim.send_signal(signal.SIGTERM)
    shim.wait(30)
    record = folder.read_exit(1)
    assert record is not None
    assert (record["code"], record["signal"]) == (7, None)


def test_a_second_request_ends_a_worker_that_does_not_listen(folder: JobDir) -> None:
    shim = begin(folder, "deaf")
    until(lambda: "deaf" in log(folder), "the worker to be deaf")
    shim.send_signal(signal.SIGTERM)
    assert shim.poll() is None
    # Two signals of a kind that are pending at once are one signal: the second request is repeated until it counts.
    until(lambda: shim.poll() is not None or shim.send_signal(signal.SIGTERM), "the shim to insist")
    record = folder.read_exit(1)
    assert record is not None
    assert record["signal"] == signal.SIGKILL


def test_the_worker_dies_with_its_shim(folder: JobDir) -> None:
    shim = begin(folder, "wait")
    pids = folder.attempt(1) / "pids.json"
    until(pids.exists, "the worker to start")
    worker = json.loads(pids.read_text())["workers"][0]
    shim.kill()
    shim.wait(30)
    until(lambda: not alive(worker), "the worker to die")
    assert not is_leased(folder.lease(1))
    assert folder.read_exit(1) is None


def test_nothing_a_worker_started_outlives_its_attempt(folder: JobDir) -> None:
    shim = begin(folder, "orphan")
    assert shim.wait(30) == 0
    assert not alive(int(log(folder).split()[0]))


def test_what_a_killed_shim_leaves_behind_is_found_by_its_mark(folder: JobDir) -> None:
    shim = begin(folder, "orphan")
    until(lambda: log(folder).strip(), "the orphan to speak")
    orphan = int(log(folder).split()[0])
    shim.kill()
    shim.wait(30)
    assert alive(orphan)
    assert orphan in kill_marked(folder.attempt(1))
    until(lambda: not alive(orphan), "the orphan to die")


def test_what_does_not_end_however_often_it_is_killed_is_given_up(folder: JobDir) -> None:
    """Shells without the mark begin anew whatever is killed."""
    os.makedirs(folder.attempt(1))
    again = f"while :; do LUTHIER_ATTEMPT={folder.attempt(1)} sleep 60; done & "
    stubborn = subprocess.Popen(["sh", "-c", again * 8 + "wait"], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        Supervisor(folder.path.parent, patience=0.3).clean(folder.path.name, 1)
    finally:
        os.killpg(stubborn.pid, signal.SIGKILL)
        stubborn.wait()


def test_there_is_one_process_a_rank_each_told_which(folder: JobDir) -> None:
    assert begin(folder, "ranks", ranks=2).wait(30) == 0
    assert set(log(folder).splitlines()) == {"rank 0 of 2", "rank 1 of 2"}
    assert len(json.loads((folder.attempt(1) / "pids.json").read_text())["workers"]) == 2


def test_a_rank_that_fails_ends_the_others_and_is_the_one_recorded(folder: JobDir) -> None:
    assert begin(folder, "one rank dies", ranks=2).wait(30) == 0
    record = folder.read_exit(1)
    assert record is not None
    assert record["code"] == 5


def test_a_worker_is_offline_marked_and_told_no_secret(folder: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    begin(folder, "environment").wait(30)
    told = json.loads(log(folder))
    assert told["LUTHIER_ATTEMPT"] == str(folder.attempt(1))
    assert told["HF_HUB_OFFLINE"] == told["TRANSFORMERS_OFFLINE"] == "1"
    assert "HF_TOKEN" not in told
    assert told["LUTHIER_HOME"] == os.environ["LUTHIER_HOME"]


def test_only_a_worker_that_may_fetch_is_told_that_it_may() -> None:
    given = {"HF_TOKEN": "hf_secret", "HF_HUB_OFFLINE": "1"}
    offline = worker_environment(given, Path("/a"), online=False)
    online = worker_environment(given, Path("/a"), online=True)
    assert ("HF_HUB_OFFLINE" in offline, "HF_TOKEN" in offline) == (True, False)
    assert ("HF_HUB_OFFLINE" in online, "HF_TOKEN" in online) == (False, True)


def test_a_folder_that_is_no_job_is_refused_without_a_record(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scheduler.shim", str(tmp_path / "none"), "1"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, start_new_session=True)
    assert done.returncode != 0
    assert "job.json" in done.stderr
