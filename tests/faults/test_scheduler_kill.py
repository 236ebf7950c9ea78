"""kill -9 of everything, at any time: the world is legal afterwards, and every job ends exactly once."""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scheduler_home import Home, alive, send, until

from appliance.errors import LuthierError
from appliance.events import EventType, read_events
from appliance.jobdir import Job, JobDir, take_lease
from appliance.states import TERMINAL
from scheduler.supervisor import Supervisor


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.start()
    yield made
    made.close()


def counted(job: dict[str, Any], total: int) -> bool:
    """Whether a job committed every checkpoint up to ``total``, each of them once, over all its attempts.

    A kill may come between the commit and the word of it: a checkpoint may go unannounced, none twice.
    """
    folder = JobDir(job["folder"])
    told = [event["step"] for event in read_events(folder.events) if event["type"] == EventType.SAVED]
    committed = sorted(path.name for path in folder.checkpoints.iterdir())
    once = all(earlier < later for earlier, later in pairwise(told))
    return once and committed == [f"step-{step:06d}" for step in range(1, total + 1)]


def test_a_killed_daemon_leaves_the_job_running_and_the_next_one_adopts_it(house: Home) -> None:
    id_ = house.train(steps=30)
    house.running(id_)
    pids = house.pids(id_)
    send(pids["workers"][0], signal.SIGSTOP)
    house.kill()
    assert all(alive(pid) for pid in [pids["shim"], *pids["workers"]])
    house.start()
    assert house.job(id_)["state"] == "running"
    send(pids["workers"][0], signal.SIGCONT)
    ended = house.ended(id_)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    assert counted(ended, 30)


def test_a_job_that_ends_while_there_is_no_daemon_is_settled_by_the_next_one(house: Home) -> None:
    id_ = house.train(steps=6)
    folder = JobDir(house.job(id_)["folder"])
    house.running(id_)
    house.kill()
    until(lambda: folder.read_exit(1), "the shim to end")
    house.start()
    ended = house.job(id_)
    assert (ended["state"], ended["attempts"], ended["result"]["training"]["steps"]) == ("succeeded", 1, 6)


def test_a_wish_that_was_acknowledged_outlives_the_daemon(house: Home) -> None:
    id_ = house.train(steps=400)
    house.running(id_)
    shim = house.pids(id_)["shim"]
    send(shim, signal.SIGSTOP)
    with house.client() as client:
        assert client.act(id_, "cancel")["cancel_requested"]
    house.kill()
    send(shim, signal.SIGCONT)
    house.start()
    assert house.ended(id_)["state"] == "cancelled"


def test_a_killed_worker_is_tried_again_from_its_last_checkpoint(house: Home) -> None:
    id_ = house.train(steps=30)
    house.running(id_)
    send(house.pids(id_)["workers"][0], signal.SIGKILL)
    ended = house.ended(id_)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
    assert ended["result"]["training"]["resumed_from"] > 0
    assert counted(ended, 30)
    assert [entry["outcome"] for entry in ended["history"]] == ["worker-died", "ok"]
    assert ended["history"][0]["exit_signal"] == signal.SIGKILL


def test_a_killed_shim_takes_its_worker_along_and_the_job_is_tried_again(house: Home) -> None:
    id_ = house.train(steps=30)
    house.running(id_)
    pids = house.pids(id_)
    send(pids["shim"], signal.SIGKILL)
    until(lambda: not alive(pids["workers"][0]), "the worker to die")
    ended = house.ended(id_)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
    assert counted(ended, 30)


def test_what_a_killed_shim_left_running_is_gone_before_the_next_attempt(house: Home) -> None:
    with house.client() as client:
        id_ = client.submit("train", {"training": {"steps": 300}}, name="fork")["id"]
    house.running(id_)
    first = set(house.processes())
    assert len(first) == 2
    send(house.pids(id_)["shim"], signal.SIGKILL)
    until(lambda: house.job(id_)["attempts"] == 2, "the second attempt")
    assert not [pid for pid in first if alive(pid)]


def test_a_daemon_and_its_shim_killed_together_lose_nothing(house: Home) -> None:
    id_ = house.train(steps=30)
    house.running(id_)
    pids = house.pids(id_)
    house.kill()
    for pid in [pids["shim"], *pids["workers"]]:
        send(pid, signal.SIGKILL)
    house.start()
    ended = house.ended(id_)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 2)


def test_a_job_that_always_dies_is_given_up_and_the_others_go_on(house: Home) -> None:
    with house.client() as client:
        doomed = client.submit("train", {}, name="crash")["id"]
    fine = house.train(steps=2)
    ended = house.ended(doomed)
    assert (ended["state"], ended["attempts"], ended["error"]["code"]) == ("failed", 3, "worker-died")
    assert house.ended(fine)["state"] == "succeeded"


def test_a_worker_that_does_not_stop_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    folder = JobDir(tmp_path / "jobs" / "j-deaf00")
    folder.create(Job(id="j-deaf00", kind="train", name="deaf", spec={}, created_at="2026-01-01T00:00:00.000Z"))
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    supervisor = Supervisor(folder.path.parent, [sys.executable, "-c", deaf], grace=0.1)
    supervisor.launch("j-deaf00", 1)
    until(lambda: "deaf" in folder.log(1).read_text(), "the worker to be deaf")
    supervisor.stop("j-deaf00")

    def over() -> bool:
        supervisor.press()
        return bool(supervisor.ended())

    until(over, "the attempt to end")
    record = folder.read_exit(1)
    assert record is not None
    assert record["signal"] == signal.SIGKILL


def test_the_endpoint_outlives_the_daemon_and_a_killed_server_comes_back_with_its_models(
    house: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    with house.client() as client:
        asked = {"name": "served", "data": {"path": house.rows()}, "base": {"model": str(folder)}}
        tune = client.start_tune(asked | {"training": {"steps": 1}})["pipeline"]
        until(lambda: client.pipeline(tune)["state"] == "succeeded", "the tune to end", 60)
        before = client.endpoint()
    house.kill()
    assert alive(before["pid"])
    house.start()
    with house.client() as client:
        until(lambda: client.endpoint()["state"] == "ready", "the endpoint to be known again")
        assert client.endpoint() == before
        send(before["pid"], signal.SIGKILL)
        until(lambda: client.endpoint()["pid"] not in (None, before["pid"]), "a new server")
        until(lambda: client.endpoint()["state"] == "ready", "the endpoint to be back")
        assert client.endpoint()["models"] == before["models"]
        assert client.endpoint()["job"] == before["job"]


def test_an_attempt_that_was_claimed_and_never_began_is_not_counted(house: Home) -> None:
    first = house.train(steps=400)
    house.running(first)
    second = house.train(steps=2)
    house.kill()
    with sqlite3.connect(house.paths.database) as connection:
        connection.execute("UPDATE jobs SET state = 'starting', attempts = 1 WHERE id = ?", (second,))
        connection.execute("INSERT INTO attempts (job, number, started_at) VALUES (?, 1, '')", (second,))
    house.start()
    assert (house.job(second)["state"], house.job(second)["attempts"]) == ("queued", 0)
    with house.client() as client:
        client.act(first, "cancel")
    assert house.ended(second)["attempts"] == 1


def test_an_attempt_somebody_runs_by_hand_is_not_started_twice(house: Home) -> None:
    first = house.train(steps=400)
    house.running(first)
    second = house.train(steps=2)
    folder = JobDir(house.job(second)["folder"])
    lease = take_lease(folder.lease(1))
    assert lease is not None
    with house.client() as client:
        client.act(first, "cancel")
    ended = house.ended(second)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "conflict")
    assert folder.read_exit(1) is None


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_random_kills_lead_to_a_legal_world_in_which_every_job_ended_once(house: Home, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for _ in range(8):
        for _ in range(2):
            acknowledged.append(house.train(steps=8))
        time.sleep(chance.uniform(0, 0.6))
        victim = chance.choice(["daemon", "shim", "worker", "both"])
        marked = house.processes()
        if victim in ("daemon", "both"):
            house.kill()
        if victim != "daemon" and marked:
            send(chance.choice(marked), signal.SIGKILL)
        if victim in ("daemon", "both"):
            house.start()
    for id_ in acknowledged:
        ended = house.ended(id_, 120)
        assert ended["state"] == "succeeded", ended["error"]
        assert [entry["outcome"] for entry in ended["history"]].count("ok") == 1
        assert counted(ended, 8)
    house.check()
    with house.client() as client:
        assert {job["state"] for job in client.jobs()} <= set(TERMINAL)
        client.shutdown()
    house.daemons[-1].wait(30)
    assert house.processes() == []
    assert not list(house.paths.state.rglob(".partial-*"))
    house.check_database()


def test_a_lost_database_is_rebuilt_from_the_folders_while_a_job_runs(house: Home, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    with house.client() as client:
        rows = {"path": house.rows()}
        first = {"name": "done", "data": rows, "base": {"model": str(folder)}, "training": {"steps": 1}}
        done = client.start_tune(first | {"serve": {"alias": "for-clients"}})["pipeline"]
        until(lambda: client.pipeline(done)["state"] == "succeeded", "the first tune to end", 60)
        second = {"name": "half", "data": rows, "base": {"model": str(folder)}, "training": {"steps": 60}}
        half = client.start_tune(second)["pipeline"]
        kinds = [job["kind"] for job in client.pipeline(half)["jobs"]]
        train = client.pipeline(half)["jobs"][2]["id"]
        house.running(train)
        worker = house.pids(train)["workers"][0]
        send(worker, signal.SIGSTOP)
        before = {job["id"]: job for job in client.jobs(pipeline=done)}
        model, endpoint = client.model("done"), client.endpoint()
    house.kill()
    for path in house.paths.state.glob("luthier.db*"):
        path.unlink()
    house.start()
    with house.client() as client:
        after = {job["id"]: job for job in client.jobs(pipeline=done)}
        for id_, job in before.items():
            kept = ("kind", "name", "state", "result", "error", "depends_on", "attempts", "folder", "device")
            assert {name: after[id_][name] for name in kept} == {name: job[name] for name in kept}
        assert client.model("done")["path"] == model["path"]
        assert client.model("done")["artifacts"] == model["artifacts"]
        assert client.dataset("done")["rows"] == {"total": 2}
        until(lambda: client.endpoint()["state"] == "ready", "the endpoint to be known again")
        assert client.endpoint() == endpoint
        assert client.deployments()[0]["alias"] == "for-clients"
        assert client.job(train)["state"] == "running"
        send(worker, signal.SIGCONT)
        assert [job["kind"] for job in client.pipeline(half)["jobs"]] == kinds
        until(lambda: client.pipeline(half)["state"] == "succeeded", "the second tune to end", 60)
        assert client.job(train)["attempts"] == 1
        assert client.pipeline(half)["deployment"]["state"] == "ready"


def test_what_was_cancelled_or_paused_does_not_start_by_itself_when_the_database_is_lost(house: Home) -> None:
    ids = {verb: house.train(steps=400) for verb in ("cancel", "pause", None)}
    with house.client() as client:
        for verb, id_ in ids.items():
            house.running(id_)
            if verb is not None:
                client.act(id_, verb)
                until(lambda id_=id_: house.job(id_)["state"] in ("cancelled", "paused"), "the wish to be heard")
    house.kill()
    send(house.pids(str(ids[None]))["shim"], signal.SIGKILL)
    until(lambda: not house.processes(), "the last worker to be gone")
    for path in house.paths.state.glob("luthier.db*"):
        path.unlink()
    house.start()
    assert {house.job(id_)["state"] for id_ in ids.values()} == {"paused"}
    with house.client() as client:
        client.act(ids["pause"], "resume")
    until(lambda: house.job(ids["pause"])["attempts"] == 2, "the paused job to go on")


def test_a_cancel_cannot_be_raced_into_a_second_run(house: Home) -> None:
    """Submit and cancel at once, many times: nothing that was cancelled before it started ever runs."""
    with house.client() as client:
        for _ in range(10):
            id_ = house.train(steps=3)
            try:
                client.act(id_, "cancel")
            except LuthierError:
                continue
            ended = house.ended(id_)
            assert ended["state"] in ("cancelled", "succeeded")
            assert ended["attempts"] <= 1
    house.check()


def test_a_daemon_whose_home_was_taken_away_ends_with_its_jobs(house: Home) -> None:
    id_ = house.train(steps=4000)
    house.running(id_)
    pids = house.pids(id_)
    house.folder.rename(house.folder.with_name("moved"))
    house.daemons[-1].wait(30)
    until(lambda: not any(alive(pid) for pid in [pids["shim"], *pids["workers"]]), "its worker to end")
