"""The daemon as a process, asked over its socket, with made-up workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest
from scheduler_home import Home, alive, until

from appliance.client import Client
from appliance.errors import (
    Conflict,
    FileNotFound,
    InvalidBaseModel,
    InvalidSpec,
    LuthierError,
    NetworkNotAllowed,
    NotFound,
    UnknownName,
    UsageError,
)
from appliance.jobdir import JobDir
from appliance.launch import child_environment
from scheduler.api.peer import Peer, may_control

FORBIDDEN = {"torch", "transformers", "pyarrow", "pandas", "numpy", "llama_cpp", "tokenizers", "onnxruntime", "peft"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A daemon that the tests of this file share; each uses names of its own."""
    made = Home(tmp_path_factory.mktemp("scheduler") / "home")
    made.start()
    yield made
    made.close()


@pytest.fixture
def client(house: Home) -> Iterator[Client]:
    with house.client() as made:
        yield made


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A folder that looks like a base model from outside, which is all the daemon looks at."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return str(folder)


def tune(house: Home, client: Client, base: str, name: str, **spec: Any) -> dict[str, Any]:
    """Run a tune with made-up steps to its end."""
    asked = {"name": name, "data": {"path": house.rows()}, "base": {"model": base}, **spec}
    asked.setdefault("training", {"steps": 3})
    started = client.start_tune(asked)
    return finished(client, started["pipeline"])


def finished(client: Client, pipeline: str) -> dict[str, Any]:
    return until(
        lambda: found if (found := client.pipeline(pipeline))["state"] not in ("running", "paused") else None,
        f"{pipeline} to end",
        60,
    )


def test_the_daemon_holds_no_parser_of_untrusted_files() -> None:
    routes = "from scheduler.api import datasets, deployments, events, jobs, models, pipelines, status"
    script = f"import json, sys, scheduler.daemon; {routes}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], env=child_environment(), capture_output=True, check=True)
    assert not FORBIDDEN & {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_running_daemon_has_mapped_no_library_of_a_parser(house: Home, client: Client, base: str) -> None:
    tune(house, client, base, "mapped")
    mapped = Path(f"/proc/{client.status()['pid']}/maps").read_text()
    assert "site-packages" in mapped
    assert not [name for name in FORBIDDEN if f"/site-packages/{name}" in mapped]


def test_a_tune_runs_from_file_to_endpoint(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "whole", serve={"question": "Well?"})
    assert done["state"] == "succeeded"
    assert [job["kind"] for job in done["jobs"]] == [
        "ingest", "plan", "train", "evaluate", "export", "parity", "report",
    ]  # fmt: skip
    assert {job["attempts"] for job in done["jobs"]} == {1}
    assert done["training"]["plan"] == done["plan"]
    assert done["dataset"]["id"].startswith("d-")
    assert [artifact["parity"]["passed"] for artifact in done["artifacts"]] == [True, True]
    assert done["deployment"]["base_url"].endswith("/v1")
    assert done["deployment"]["stage"] == "live"
    report = client.job(next(job["id"] for job in done["jobs"] if job["kind"] == "report"))
    assert report["result"]["endpoint"] == {"base_url": done["deployment"]["base_url"], "model": "whole"}
    assert client.model("whole")["stage"] == "live"
    assert "whole" in client.endpoint()["models"]


def test_the_smallest_artifact_that_passed_is_the_one_that_is_served(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "smallest", export={"formats": ["gguf:f16", "gguf:q8_0"]})
    smallest = min(done["artifacts"], key=lambda artifact: artifact["bytes"])
    assert done["deployment"]["artifact"]["format"] == smallest["format"]


def test_a_model_the_gate_refused_is_served_under_its_own_id_only(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "candidate", serve={"alias": "for-clients"})
    assert done["state"] == "succeeded"
    assert (done["deployment"]["stage"], done["deployment"]["alias"]) == ("candidate", None)
    assert "for-clients" not in client.endpoint()["models"]
    assert client.model("candidate")["stage"] == "candidate"


def test_a_second_tune_of_a_name_takes_the_name_over_when_it_is_loaded(house: Home, client: Client, base: str) -> None:
    tune(house, client, base, "again")
    second = tune(house, client, base, "again")
    assert (second["model"], second["deployment"]["alias"]) == ("again-2", "again")
    served = {row["model"]: row["alias"] for row in client.deployments()}
    assert served["again-2"] == "again"
    assert "again" not in served
    assert client.model("again-2")["stage"] == "live"


def test_a_model_that_cannot_be_loaded_leaves_the_others_served_and_says_so(
    house: Home, client: Client, base: str
) -> None:
    tune(house, client, base, "good")
    bad = tune(house, client, base, "bad")
    assert bad["state"] == "failed"
    assert bad["error"]["code"] == "not-served"
    assert "It is bad." in bad["error"]["message"]
    assert bad["report"] is not None
    assert "good" in client.endpoint()["models"]
    client.undeploy("bad")


def test_the_server_ends_with_the_last_deployment(house: Home, client: Client, base: str) -> None:
    tune(house, client, base, "last")
    server = client.endpoint()["job"]
    for row in client.deployments():
        client.undeploy(row["id"])
    with pytest.raises(NotFound):
        client.endpoint()
    assert house.ended(server)["state"] in ("succeeded", "cancelled")
    client.deploy("last")
    until(lambda: client.endpoint()["state"] == "ready", "the endpoint to be back")
    assert client.endpoint()["job"] != server


def test_a_tune_without_serving_leaves_the_endpoint_alone(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "unserved", serve={"enabled": False})
    assert done["state"] == "succeeded"
    assert done["deployment"] is None


def test_a_failed_step_fails_the_tune_with_its_error_and_drops_the_rest(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "reject")
    assert done["state"] == "failed"
    assert (done["error"]["code"], done["error"]["where"]) == ("data-rejected", "rows.jsonl")
    assert [job["state"] for job in done["jobs"]] == ["failed", *["cancelled"] * 6]


def test_a_failed_step_can_be_done_again_with_all_that_follows(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "reject-again")
    again = client.act(done["jobs"][0]["id"], "rerun")
    assert again["rerun_of"] == done["jobs"][0]["id"]
    redone = finished(client, done["pipeline"])
    assert len(redone["jobs"]) == 7
    assert redone["jobs"][0]["id"] == again["id"]


def test_a_training_done_again_is_what_the_steps_after_it_build_on(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "retrained", serve={"enabled": False})
    train = client.act(done["jobs"][2]["id"], "rerun")
    redone = finished(client, done["pipeline"])
    assert redone["state"] == "succeeded"
    assert [job["id"] for job in redone["jobs"]][:2] == [job["id"] for job in done["jobs"]][:2]
    assert redone["job"] == train["id"]
    evaluated = client.job(redone["jobs"][3]["id"])
    assert evaluated["inputs"]["model"]["path"].startswith(train["folder"])
    assert (done["model"], redone["model"]) == ("retrained", "retrained-2")


def test_a_cancelled_tune_is_done_again_as_a_whole(house: Home, client: Client, base: str) -> None:
    recipe = {"name": "sleep-then", "data": {"path": house.rows()}, "base": {"model": base}}
    started = client.start_tune(recipe)
    client.act(started["pipeline"], "cancel")
    ended = finished(client, started["pipeline"])
    assert {job["state"] for job in ended["jobs"]} == {"cancelled"}
    again = client.act(started["pipeline"], "rerun")
    assert [job["kind"] for job in again["jobs"]] == [job["kind"] for job in ended["jobs"]]
    assert [job["rerun_of"] for job in again["jobs"]] == [job["id"] for job in ended["jobs"]]
    assert again["jobs"][0]["state"] in ("queued", "starting", "running")
    assert {job["state"] for job in again["jobs"][1:]} == {"blocked"}
    assert all(later["depends_on"] == [earlier["id"]] for earlier, later in pairwise(again["jobs"]))
    client.act(started["pipeline"], "cancel")
    finished(client, started["pipeline"])


def test_doing_a_tune_again_begins_with_what_did_not_succeed_or_else_with_everything(
    house: Home, client: Client, base: str
) -> None:
    done = tune(house, client, base, "twice", serve={"enabled": False})
    client.act(done["jobs"][3]["id"], "rerun")
    client.act(done["pipeline"], "cancel")
    partly = finished(client, done["pipeline"])
    kept = [job["id"] for job in partly["jobs"] if job["state"] == "succeeded"]
    client.act(done["pipeline"], "rerun")
    redone = finished(client, done["pipeline"])
    assert redone["state"] == "succeeded"
    assert [job["id"] for job in redone["jobs"]][: len(kept)] == kept
    client.act(done["pipeline"], "rerun")
    whole = finished(client, done["pipeline"])
    assert [job["rerun_of"] for job in whole["jobs"]] == [job["id"] for job in redone["jobs"]]


def test_a_bug_in_a_worker_is_told_as_one(house: Home, client: Client) -> None:
    made = client.submit("train", {"training": {"steps": 1}}, name="bug")
    ended = house.ended(made["id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "bug")
    assert "ZeroDivisionError" in ended["error"]["message"]
    assert any("Traceback" in line for line in client.log(made["id"])["lines"])


def test_a_result_that_makes_no_sense_fails_its_job_and_nothing_else(house: Home, client: Client) -> None:
    made = client.submit("ingest", {"data": {"path": house.rows()}}, name="odd")
    assert house.ended(made["id"])["error"]["code"] == "bug"
    assert client.status()["pid"]


def test_a_dataset_is_taken_in_listed_and_its_ledger_read(house: Home, client: Client) -> None:
    made = client.submit("ingest", {"data": {"path": house.rows("kittens.jsonl")}})
    assert made["name"] == "kittens"
    ended = house.ended(made["id"])
    found = client.dataset("kittens")
    assert (found["schema"], found["job"], found["path"]) == (
        "luthier.dataset/1",
        made["id"],
        ended["result"]["dataset"]["path"],
    )
    assert [row["row"] for row in client.rows("kittens", state="duplicate")] == [2]
    assert len(client.rows("kittens", limit=1)) == 1
    again = client.submit("ingest", {"data": {"dataset": found["id"]}})
    assert again["name"] == "kittens"
    assert again["spec"]["data"]["path"] == f"{found['path']}/source"
    house.ended(again["id"])
    client.remove_dataset(found["id"])
    assert client.dataset("kittens")["id"] != found["id"]


def test_a_model_here_is_evaluated_exported_and_compared_alone(house: Home, client: Client, base: str) -> None:
    done = tune(house, client, base, "alone", serve={"enabled": False})
    for kind in ("evaluate", "export", "parity"):
        made = client.submit(kind, {}, inputs={"model": "alone"})
        ended = house.ended(made["id"])
        assert (ended["state"], ended["name"]) == ("succeeded", "alone")
        assert ended["inputs"]["model"]["path"] == client.model("alone")["path"]
    assert done["model_id"] == client.model("alone")["id"]


def test_a_model_made_here_can_be_a_base(house: Home, client: Client, base: str) -> None:
    client.add_model(base, "added")
    assert client.model("added")["kind"] == "full"
    started = client.start_tune({"name": "on-added", "data": {"path": house.rows()}, "base": {"model": "added"}})
    assert started["base"] == base
    assert client.act(started["pipeline"], "cancel")
    assert finished(client, started["pipeline"])["state"] == "cancelled"
    client.remove_model("added")
    with pytest.raises(NotFound):
        client.model("added")


def test_a_model_that_another_was_built_on_stays_until_that_is_gone(house: Home, client: Client, base: str) -> None:
    client.add_model(base, "ground")
    client.add_model(base, "ground-too")
    tune(house, client, base, "built", serve={"enabled": False})
    with pytest.raises(Conflict, match="'built'"):
        client.remove_model("ground")
    client.remove_model("built")
    client.remove_model("ground")
    client.remove_model("ground-too")
    with pytest.raises(NotFound):
        client.model("ground")


REFUSALS: list[tuple[dict[str, Any], type[LuthierError], str]] = [
    ({"data": {"path": "/no/such/file.jsonl"}}, FileNotFound, "/no/such/file.jsonl"),
    ({"data": {"path": "relative.jsonl"}}, UsageError, "relative"),
    ({"data": {"path": "/tmp"}}, FileNotFound, "is a folder"),
    ({"data": {"dataset": "d-none"}}, NotFound, "d-none"),
    ({"data": {}}, InvalidSpec, "data.path"),
    ({"data": {"path": "ROWS"}, "base": {"model": "/no/such/model"}}, FileNotFound, "/no/such/model"),
    ({"data": {"path": "ROWS"}, "base": {"model": "./model"}}, FileNotFound, "model"),
    ({"data": {"path": "ROWS"}, "base": {"model": "a/b/c"}}, FileNotFound, "a/b/c"),
    ({"data": {"path": "ROWS"}, "base": {"model": "/tmp"}}, InvalidBaseModel, "config.json"),
    ({"data": {"path": "ROWS"}, "base": {"model": "org/model"}}, NetworkNotAllowed, "network.offline"),
    ({"data": {"path": "ROWS"}, "base": {"model": "startre"}}, NotFound, "startre"),
    ({"data": {"path": "ROWS"}, "training": {"method": "lorra"}}, UnknownName, "lorra"),
    ({"data": {"path": "ROWS"}, "export": {"formats": ["gguf:q9"]}}, UnknownName, "gguf:q9"),
    ({"data": {"path": "ROWS", "replay": "/no/replay"}}, FileNotFound, "/no/replay"),
    ({"data": {"path": "ROWS"}, "name": "no spaces"}, UsageError, "no spaces"),
    ({"data": {"pth": "x"}, "training": {"rank": 0, "steps": "many"}}, InvalidSpec, "3 fault"),
]


@pytest.mark.parametrize(("spec", "error", "said"), REFUSALS, ids=[said for _, _, said in REFUSALS])
def test_a_tune_that_cannot_work_is_refused_before_anything_is_stored(
    house: Home, client: Client, base: str, spec: dict[str, Any], error: type[LuthierError], said: str
) -> None:
    asked = json.loads(json.dumps(spec).replace("ROWS", house.rows()))
    asked.setdefault("base", {"model": base})
    before = len(client.pipelines())
    with pytest.raises(error) as caught:
        client.start_tune(asked)
    assert said in caught.value.message
    assert len(client.pipelines()) == before


def test_a_misspelt_base_or_method_is_answered_with_the_nearest(house: Home, client: Client, base: str) -> None:
    rows = {"path": house.rows()}
    with pytest.raises(NotFound) as caught:
        client.start_tune({"data": rows, "base": {"model": "startre"}})
    assert "starter" in str(caught.value.hint)
    with pytest.raises(UnknownName) as wrong:
        client.start_tune({"data": rows, "base": {"model": base}, "training": {"method": "lorra"}})
    assert "lora" in str(wrong.value.hint)


def test_a_hub_id_that_was_downloaded_before_is_found_without_a_network(tmp_path: Path, base: str) -> None:
    from scheduler.bases import cached_snapshot

    commit = "a" * 40
    repository = tmp_path / "hub" / "models--org--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    assert cached_snapshot("org/model", {"HF_HOME": str(tmp_path)}) is None
    (repository / "snapshots" / commit).mkdir(parents=True)
    assert cached_snapshot("org/model", {"HF_HOME": str(tmp_path)}) == repository / "snapshots" / commit
    (repository / "refs" / "main").write_text("../../../../etc")
    assert cached_snapshot("org/model", {"HF_HOME": str(tmp_path)}) is None


def test_a_running_job_is_paused_at_a_checkpoint_and_resumed_from_it(house: Home, client: Client) -> None:
    id_ = house.train(steps=30)
    house.running(id_)
    asked = client.act(id_, "pause")
    assert asked["pause_requested"]
    paused = until(lambda: found if (found := client.job(id_))["state"] == "paused" else None, "the job to pause")
    done = paused["progress"]["step"]
    assert 0 < done < 30
    client.act(id_, "resume")
    ended = house.ended(id_)
    assert ended["result"]["training"]["resumed_from"] == done
    assert [entry["outcome"] for entry in ended["history"]] == ["interrupted", "ok"]
    curve = client.metrics(id_)
    assert curve["step"] == list(range(1, 31))
    assert curve["loss"] == [1 / step for step in range(1, 31)]


def test_a_queued_job_is_paused_without_ever_starting(house: Home, client: Client) -> None:
    first, second = house.train(steps=40), house.train(steps=1)
    assert client.job(second)["state"] == "queued"
    assert first in client.job(second)["reason"]
    assert client.act(second, "pause")["state"] == "paused"
    client.act(first, "cancel")
    house.ended(first)
    assert client.job(second)["state"] == "paused"
    client.act(second, "resume")
    assert house.ended(second)["state"] == "succeeded"


def test_a_running_job_is_cancelled_and_keeps_its_last_checkpoint(house: Home, client: Client) -> None:
    id_ = house.train(steps=500)
    house.running(id_)
    client.act(id_, "cancel")
    ended = house.ended(id_)
    assert ended["state"] == "cancelled"
    assert any(JobDir(ended["folder"]).checkpoints.glob("step-*"))
    with pytest.raises(Conflict):
        client.act(id_, "cancel")


def test_one_idempotency_key_makes_one_tune_however_often_it_is_sent(house: Home, client: Client, base: str) -> None:
    spec = {"name": "once", "data": {"path": house.rows()}, "base": {"model": base}}
    found: list[str] = []

    def submit() -> None:
        with house.client() as own:
            found.append(own.start_tune(spec, key="the-same-key")["pipeline"])

    threads = [threading.Thread(target=submit) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(found), len(set(found))] == [50, 1]
    assert sum(tune_["name"] == "once" for tune_ in client.pipelines()) == 1
    with pytest.raises(Conflict):
        client.start_tune(spec | {"name": "other"}, key="the-same-key")
    client.act(found[0], "cancel")
    finished(client, found[0])


def test_what_happens_is_told_as_it_happens(house: Home, client: Client) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []
    made: list[str] = []
    with house.client() as listener:
        for noun, data in listener.stream():
            heard.append((noun, data))
            if noun == "reset":
                made.append(house.train(steps=12))
            if noun == "job" and data.get("state") == "succeeded" and data["id"] in made:
                break
        states = [data["state"] for noun, data in heard if noun == "job" and data["id"] in made]
        assert list(dict.fromkeys(states)) == ["queued", "starting", "running", "succeeded"]
        steps = [d["event"]["step"] for n, d in heard if n == "progress" and d["event"]["type"] == "step"]
        assert steps == sorted(steps)
        assert steps[-1] == 12
        cursor = listener.cursor
    with house.client() as listener:
        house.train(steps=1)
        assert next(iter(listener.stream(after=cursor)))[0] != "reset"


def test_lists_come_in_pages(house: Home, client: Client) -> None:
    ids = [house.train(steps=1) for _ in range(5)]
    for id_ in ids:
        house.ended(id_)
    transport = httpx2.HTTPTransport(uds=str(house.paths.socket))
    with httpx2.Client(transport=transport, base_url="http://luthier/api/v1") as raw:
        first = raw.get("/jobs", params={"limit": 2, "kind": "train"}).json()
        second = raw.get("/jobs", params={"limit": 2, "kind": "train", "after": first["next"]}).json()
    assert [job["id"] for job in [*first["items"], *second["items"]]] == list(reversed(ids))[:4]
    assert {job["state"] for job in client.jobs(state="succeeded")} == {"succeeded"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "not-found"),
        ("GET", "/jobs/j-none", None, 404, "not-found"),
        ("GET", "/jobs?limit=0", None, 422, "invalid-request"),
        ("GET", "/pipelines?limit=-1", None, 422, "invalid-request"),
        ("GET", "/datasets?limit=0", None, 422, "invalid-request"),
        ("GET", "/models?limit=1001", None, 422, "invalid-request"),
        ("DELETE", "/jobs", None, 405, "not-permitted"),
        ("POST", "/jobs", {"kind": "tarin"}, 422, "unknown-name"),
        ("POST", "/jobs", {"kind": []}, 422, "invalid-request"),
        ("POST", "/pipelines", {"spec": 3}, 422, "invalid-request"),
        ("POST", "/deployments", {"model": "none"}, 404, "not-found"),
        ("POST", "/jobs/j-none/explode", None, 422, "invalid-request"),
        ("GET", "/datasets/x%2F..%2F..%2Fetc", None, 404, "not-found"),
    ],
)
def test_every_refusal_is_a_problem_with_a_code(
    house: Home, method: str, path: str, body: Any, status: int, code: str
) -> None:
    transport = httpx2.HTTPTransport(uds=str(house.paths.socket))
    with httpx2.Client(transport=transport, base_url="http://luthier/api/v1") as raw:
        answer = raw.request(method, path, json=body) if body is not None else raw.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "message", "hint", "fixes"} <= set(answer.json())


def test_a_body_that_is_too_large_or_not_json_is_refused(house: Home) -> None:
    transport = httpx2.HTTPTransport(uds=str(house.paths.socket))
    with httpx2.Client(transport=transport, base_url="http://luthier/api/v1") as raw:
        assert raw.post("/pipelines", content=b"x" * (5 << 20)).status_code == 413
        assert raw.post("/pipelines", content=b"{nope", headers={"content-type": "application/json"}).status_code == 422
        assert raw.get("/status").status_code == 200


def test_the_socket_is_private_and_a_stranger_is_refused(house: Home) -> None:
    mode = house.paths.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    assert stat.S_IMODE(house.paths.socket.parent.stat().st_mode) & 0o027 == 0


def test_only_a_group_that_was_given_to_the_socket_lets_its_members_in(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.touch()
    member, root, owner = (Peer(1, uid, frozenset({path.stat().st_gid})) for uid in (os.getuid() + 1, 0, os.getuid()))
    assert path.stat().st_gid == os.getgid()
    assert [may_control(peer, path) for peer in (member, root, owner)] == [False, True, True]
    other = next((group for group in os.getgroups() if group != os.getgid()), 4 if os.getuid() == 0 else None)
    if other is not None:
        os.chown(path, -1, other)
        assert may_control(Peer(1, os.getuid() + 1, frozenset({other})), path)
        assert not may_control(member, path)


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user takes root")
def test_another_user_is_refused_even_where_the_file_modes_would_let_them(house: Home) -> None:
    script = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s.connect(sys.argv[1])\n"
        "s.sendall(b'GET /api/v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "print(s.recv(4096).decode().split()[1])\n"
    )
    opened = [folder for folder in [house.paths.socket, *house.paths.socket.parents] if folder != Path("/tmp")]
    modes = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in opened if folder.owner() == "root"}
    try:
        for folder, mode in modes.items():
            folder.chmod(mode | 0o007)
        done = subprocess.run([sys.executable, "-c", script, str(house.paths.socket)], capture_output=True, text=True)
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert done.stdout.strip() == "403", done.stderr


def test_a_second_daemon_ends_well_and_leaves_the_first_alone(house: Home, client: Client) -> None:
    before = client.status()["pid"]
    second = house.start(wait=False)
    assert second.wait(30) == 0
    assert client.status()["pid"] == before


def test_two_daemons_that_race_leave_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "race")
    try:
        racers = [home.start(wait=False) for _ in range(3)]
        until(home._answers, "one of them to answer")
        losers = until(lambda: [p for p in racers if p.poll() is not None][:2] or None, "the losers to leave")
        until(lambda: sum(p.poll() is not None for p in racers) == 2, "both losers to leave")
        assert {p.poll() for p in losers} == {0}
        with home.client() as client:
            assert client.status()["pid"] in {p.pid for p in racers if p.poll() is None}
    finally:
        home.close()


def test_the_daemon_tells_systemd_when_it_is_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    home = Home(tmp_path / "notify")
    address = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30)
        home.environ["NOTIFY_SOCKET"] = str(address)
        process = home.start()
        assert manager.recv(64) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert manager.recv(64) == b"STOPPING=1"
    assert not home.paths.socket.exists()
    home.check_database()


def test_a_database_that_fails_under_the_daemon_ends_it_with_the_status_of_a_disk(tmp_path: Path) -> None:
    home = Home(tmp_path / "damaged")
    process = home.start()
    with sqlite3.connect(home.paths.database) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DROP TABLE jobs")
    assert process.wait(30) == 74
    assert not home.paths.socket.exists()


def test_a_client_that_listens_does_not_keep_the_daemon_from_ending(tmp_path: Path) -> None:
    home = Home(tmp_path / "listened")
    process = home.start()
    with home.client() as client:
        stream = client.stream()
        assert next(stream)[0] == "reset"
        with home.client() as other:
            other.shutdown()
        assert process.wait(30) == 0
        assert list(stream) == []


def test_running_jobs_go_on_when_the_daemon_is_told_to_end(tmp_path: Path) -> None:
    home = Home(tmp_path / "left")
    try:
        process = home.start()
        id_ = home.train(steps=30)
        worker = home.pids(id_)["workers"][0]
        with home.client() as client:
            client.shutdown()
        assert process.wait(30) == 0
        assert alive(worker)
        home.start()
        assert home.ended(id_)["attempts"] == 1
    finally:
        home.close()


def test_a_daemon_told_to_stop_its_jobs_finds_them_resumable(tmp_path: Path) -> None:
    home = Home(tmp_path / "stopped")
    try:
        process = home.start()
        id_ = home.train(steps=30)
        home.running(id_)
        with home.client() as client:
            assert client.shutdown(stop_jobs=True)["stopped_jobs"] == [id_]
        assert process.wait(30) == 0
        until(lambda: not home.processes(), "the worker to stop")
        home.start()
        ended = home.ended(id_)
        assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
        assert ended["result"]["training"]["resumed_from"] > 0
    finally:
        home.close()


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [("[daemon]\nlihgt_jobs = 3\n", 2, "daemon.light_jobs"), ("[network]\noffline = 3\n", 2, "true or false")],
)
def test_a_wrong_setting_keeps_the_daemon_from_starting_and_is_named(
    tmp_path: Path, content: str, status: int, said: str
) -> None:
    home = Home(tmp_path / "wrong")
    home.folder.mkdir()
    (home.folder / "config.toml").write_text(content)
    assert home.start(wait=False).wait(30) == status
    assert said in (home.folder / "daemon.log").read_text()


def test_something_else_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "taken")
    home.paths.socket.parent.mkdir(parents=True, mode=0o700)
    home.paths.socket.write_text("precious")
    assert home.start(wait=False).wait(30) == 5
    assert home.paths.socket.read_text() == "precious"
