"""The main job through the real processes: watched, then with each of them killed, and once on real data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.client import Client
from appliance.errors import LuthierError
from appliance.events import read_events
from appliance.paths import find_paths

REPOSITORY = Path(__file__).parents[2]
QUICKSTART_LIMIT_S = 1500  # a bound against a hang, not a measure


@dataclass
class Home:
    """One installation, and what was seen of its processes."""

    path: Path
    prefix: list[str] = field(default_factory=list)
    seen: dict[str, set[int]] = field(default_factory=dict)
    """What a process is → the ids seen for it."""
    torch: dict[str, set[bool]] = field(default_factory=dict)
    """What a process is → whether libtorch was mapped into it."""

    def start(self, *words: str) -> subprocess.Popen[str]:
        environ = os.environ | {"LUTHIER_HOME": str(self.path), "LUTHIER_DEVICES": "cpu", "NO_COLOR": "1"}
        environ.pop("OMP_NUM_THREADS", None)
        command = [*self.prefix, sys.executable, "-m", "appliance.cli", *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=REPOSITORY, env=environ, text=True, **pipes)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        child = self.start(*words)
        out, err = child.communicate(timeout=QUICKSTART_LIMIT_S)
        return subprocess.CompletedProcess(words, child.returncode, out, err)

    def watch(self, child: subprocess.Popen[str], each: Callable[[Home], None]) -> dict[str, Any]:
        """Look at the processes until the command ends; returns the object it printed."""
        out, err = self.path.with_suffix(".out"), self.path.with_suffix(".err")
        started = time.monotonic()
        while child.poll() is None:
            self.look()
            each(self)
            assert time.monotonic() - started < QUICKSTART_LIMIT_S
            time.sleep(0.1)
        printed, narrated = child.communicate()
        out.write_text(printed)
        err.write_text(narrated)
        assert child.returncode == 0, narrated
        value: dict[str, Any] = json.loads(printed)
        return value

    def look(self) -> None:
        if (daemon := self.daemon()) is not None:
            self._note("daemon", daemon)
        for file in (self.path / "jobs").glob("*/attempts/*/pids.json"):
            pids = json.loads(file.read_text())
            kind = json.loads((file.parents[2] / "job.json").read_text())["kind"]
            self._note("shim", pids["shim"])
            for worker in pids["workers"]:
                self._note("server" if kind == "serve" else f"worker:{kind}", worker)

    def _note(self, what: str, pid: int) -> None:
        self.seen.setdefault(what, set()).add(pid)
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except OSError:
            return
        self.torch.setdefault(what, set()).add("libtorch" in maps)

    def daemon(self) -> int | None:
        try:
            with Client(find_paths({"LUTHIER_HOME": str(self.path)})) as client:
                pid: int = client.status()["pid"]
                return pid
        except LuthierError:
            return None

    def job(self, kind: str) -> Path | None:
        """The folder of the newest job of a kind."""
        folders = sorted((self.path / "jobs").glob("*/job.json"), key=lambda file: file.stat().st_mtime)
        matching = [file.parent for file in folders if json.loads(file.read_text())["kind"] == kind]
        return matching[-1] if matching else None

    def workers(self, kind: str) -> list[int]:
        folder = self.job(kind)
        files = sorted(folder.glob("attempts/*/pids.json"), key=lambda file: int(file.parent.name)) if folder else []
        pids: list[int] = json.loads(files[-1].read_text())["workers"] if files else []
        return pids

    def last_event(self, kind: str, type_: str) -> dict[str, Any]:
        folder = self.job(kind)
        events = list(read_events(folder / "events.jsonl")) if folder else []
        return next((event for event in reversed(events) if event["type"] == type_), {})

    def close(self) -> None:
        self.run("daemon", "stop", "--stop-jobs")
        for file in (self.path / "jobs").glob("*/attempts/*/pids.json"):
            pids = json.loads(file.read_text())
            for pid in [pids["shim"], *pids["workers"]]:
                if _is_ours(pid, self.path):
                    os.kill(pid, signal.SIGKILL)


def _is_ours(pid: int, home: Path) -> bool:
    try:
        return str(home) in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def weights(value: dict[str, Any]) -> dict[str, str]:
    """The sha256 of everything the tune made."""
    return {artifact["format"]: _digest(Path(artifact["path"])) for artifact in value["artifacts"]}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("quick") / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def quickstart(home: Home) -> dict[str, Any]:
    return home.watch(home.start("quickstart", "--json"), lambda _: None)


def test_daemon_shims_workers_and_server_are_processes_of_their_own(home: Home, quickstart: dict[str, Any]) -> None:
    kinds = {"daemon", "shim", "server"} | {
        f"worker:{kind}" for kind in ("ingest", "plan", "train", "evaluate", "export", "parity", "report")
    }
    assert set(home.seen) == kinds
    everyone = [pid for pids in home.seen.values() for pid in pids]
    assert len(everyone) == len(set(everyone)), f"two of them are one: {home.seen}"
    assert os.getpid() not in everyone


def test_only_those_who_need_torch_have_it(home: Home, quickstart: dict[str, Any]) -> None:
    assert True in home.torch["worker:train"]
    for what in ("daemon", "shim", "server", "worker:ingest", "worker:plan", "worker:parity", "worker:report"):
        assert home.torch[what] == {False}, what


def test_the_quickstart_model_is_better_and_did_not_forget(quickstart: dict[str, Any]) -> None:
    evaluation = quickstart["evaluation"]
    held_out = next(
        task for task in evaluation["tasks"] if task["metric"] == "exact_match" and task["task"] == "held_out"
    )
    assert held_out["baseline"] < 0.2
    assert held_out["value"] > 0.8
    assert evaluation["retention"]["passed"] is True
    assert evaluation["gate"]["passed"] is True, evaluation["gate"]["lines"]
    assert quickstart["deployment"]["stage"] == "live"


def test_every_row_of_the_sample_is_accounted_for(quickstart: dict[str, Any]) -> None:
    rows = dict(quickstart["dataset"]["rows"])
    total = rows.pop("total")
    rows.pop("fixed")
    assert sum(rows.values()) == total
    assert rows["kept"] + rows["held_out"] >= 0.95 * total


def test_the_exports_answer_like_the_trained_model(quickstart: dict[str, Any]) -> None:
    assert {artifact["format"] for artifact in quickstart["artifacts"]} == {"gguf:f16", "gguf:q8_0"}
    for artifact in quickstart["artifacts"]:
        assert artifact["parity"]["passed"] is True
        assert Path(artifact["path"]).read_bytes()[:4] == b"GGUF"


def test_the_question_is_answered_and_everything_has_a_path(quickstart: dict[str, Any]) -> None:
    assert quickstart["schema"] == "luthier.quickstart/1"
    assert quickstart["question"]
    assert quickstart["answer"]
    page = Path(quickstart["report"]["html"]).read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert quickstart["answer"].split()[0] in Path(quickstart["report"]["markdown"]).read_text()


def test_the_official_client_lists_chats_and_streams(quickstart: dict[str, Any]) -> None:
    from openai import NotFoundError, OpenAI

    model = quickstart["deployment"]["model"]
    with OpenAI(base_url=quickstart["deployment"]["base_url"], api_key="any") as client:
        assert model in {item.id for item in client.models.list()}
        for prompt in (quickstart["question"], "=", "🎻", "漢字 ü +"):
            messages: Any = [{"role": "user", "content": prompt}]
            whole = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)
            stream = client.chat.completions.create(
                model=model, messages=messages, temperature=0, max_tokens=40, stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
            assert "".join(pieces) == whole.choices[0].message.content
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="nobody", messages=messages)


@dataclass
class Killer:
    """Kills each process once, at its moment."""

    killed: list[str] = field(default_factory=list)

    def __call__(self, home: Home) -> None:
        step = home.last_event("train", "step").get("step") or 0
        if "daemon" not in self.killed and step >= 30 and (daemon := home.daemon()):
            self._kill("daemon", daemon)
        elif "worker" not in self.killed and step >= 90 and home.daemon():
            self._kill("worker", home.workers("train")[-1])
        elif "server" not in self.killed and home.last_event("serve", "loaded").get("ok"):
            self._kill("server", home.workers("serve")[-1])

    def _kill(self, what: str, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed.append(what)


def _without_network() -> list[str]:
    """A network namespace with nothing but loopback, where this user may make one."""
    script = 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"'
    prefix = ["unshare", "-rn", "sh", "-c", script, "sh"]
    possible = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if possible and possible.returncode == 0 else []


def test_killed_daemon_worker_and_server_change_nothing_in_what_comes_out(
    quickstart: dict[str, Any], tmp_path: Path
) -> None:
    """Also without any network: the command, the daemon it starts and all they start see loopback only."""
    home, killer = Home(tmp_path / "home", prefix=_without_network()), Killer()
    try:
        value = home.watch(home.start("quickstart", "--json"), killer)
        assert killer.killed == ["daemon", "worker", "server"]
        assert weights(value) == weights(quickstart)
        assert value["evaluation"]["tasks"] == quickstart["evaluation"]["tasks"]
        assert value["training"]["steps"] == quickstart["training"]["steps"]
        assert len(home.seen["daemon"]) == 2
        assert len(home.seen["worker:train"]) == 2
        assert value["answer"] == quickstart["answer"]
    finally:
        home.close()


def test_real_data_on_a_real_model_without_a_template_ends_well(test_data: Path, home: Home) -> None:
    done = home.run(
        "tune", str(test_data / "llamafactory/alpaca_en_demo.json"), "--base", str(test_data / "tinystories656k"),
        "--name", "alpaca", "--set", "training.steps=12", "--set", "evaluation.limit=20", "--wait", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    rows = dict(value["dataset"]["rows"])
    assert (rows.pop("total"), rows["duplicate"]) == (999, 14)
    rows.pop("fixed")
    assert sum(rows.values()) == 999
    assert 200 < rows["over_length"] < 300
    assert any(finding["code"].startswith("tokenizer") for finding in value["dataset"]["findings"])
    assert all(artifact["parity"]["passed"] for artifact in value["artifacts"])
    assert value["evaluation"]["gate"]["lines"]
