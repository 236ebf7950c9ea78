"""The command line against a real daemon in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


class Shell:
    """Runs command lines in one home, as a script would."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = os.environ | {"LUTHIER_HOME": str(home), "LUTHIER_DEVICES": "cpu", "NO_COLOR": "1"}

    def __call__(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "appliance.cli", *words]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )

    def value(self, *words: str, status: int = 0) -> dict[str, Any]:
        done = self(*words, "--json")
        assert done.returncode == status, done.stderr
        body: dict[str, Any] = json.loads(done.stdout if status == 0 else done.stderr)
        return body


@pytest.fixture(scope="module")
def luthier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("home"))
    yield shell
    shell("daemon", "stop", "--stop-jobs")


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "chats.jsonl"
    turns = [[{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}] for n in range(40)]
    file.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns))
    return file


def until(check: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def test_a_command_that_needs_a_daemon_starts_one_and_the_next_finds_it(luthier: Shell) -> None:
    first, second = luthier.value("status"), luthier.value("status")
    assert first["schema"] == "luthier.status/1"
    assert first["pid"] == second["pid"]
    assert luthier.value("daemon", "status", "--no-start")["pid"] == first["pid"]


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (("job", "ls"), "luthier.jobs/1"),
        (("data", "ls"), "luthier.datasets/1"),
        (("model", "ls"), "luthier.models/1"),
        (("gpu",), "luthier.devices/1"),
        (("ps",), "luthier.ps/1"),
        (("config", "show"), "luthier.config/1"),
        (("config", "path"), "luthier.paths/1"),
        (("version",), "luthier.version/1"),
    ],
)
def test_json_is_one_object_with_its_schema_and_nothing_is_narrated(
    luthier: Shell, words: tuple[str, ...], schema: str
) -> None:
    done = luthier(*words, "--json")
    assert json.loads(done.stdout)["schema"] == schema
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("job", "show", "nothing"), 4, "not-found"),
        (("model", "show", "nothing"), 4, "not-found"),
        (("data", "rows", "nothing"), 4, "not-found"),
        (("tune", "nothing"), 4, "not-found"),
        (("serve", "nothing"), 4, "not-found"),
        (("unserve", "nothing"), 4, "not-found"),
        (("run", "nothing", "hello"), 4, "not-found"),
        (("endpoint",), 4, "not-found"),
        (("evaluate", "nothing"), 4, "not-found"),
    ],
)
def test_what_does_not_exist_exits_4_with_the_code_of_the_daemon(
    luthier: Shell, words: tuple[str, ...], status: int, code: str
) -> None:
    error = luthier.value(*words, status=status)
    assert error["code"] == code
    assert error["message"]


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [
        (("--method", "lroa"), 2, "'lora'"),
        (("--base", "someone/some-model"), 6, "network.offline"),
        (("--export", "gguf:q8"), 2, "'gguf:q8_0'"),
        (("--name", "a/b"), 2, "a/b"),
    ],
)
def test_a_request_that_cannot_work_is_refused_before_anything_is_queued(
    luthier: Shell, chats: Path, wanted: tuple[str, ...], status: int, said: str
) -> None:
    before = luthier.value("job", "ls", "--all")["items"]
    done = luthier("tune", str(chats), *wanted)
    assert done.returncode == status
    assert said in done.stderr
    assert luthier.value("job", "ls", "--all")["items"] == before


def test_a_folder_without_weights_is_no_base_model(luthier: Shell, chats: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = luthier("tune", str(chats), "--base", str(tmp_path))
    assert done.returncode == 2
    assert "weights" in done.stderr


def test_without_a_terminal_tune_queues_prints_its_id_and_says_what_to_type_next(luthier: Shell, chats: Path) -> None:
    done = luthier("tune", str(chats), "--name", "queued", "--no-serve", "--set", "training.steps=4")
    assert done.returncode == 0, done.stderr
    pipeline = done.stdout.strip()
    assert pipeline.startswith("p-")
    assert "luthier watch queued" in done.stderr
    jobs = luthier.value("job", "ls", "--tune", pipeline)["items"]
    assert {job["kind"] for job in jobs} >= {"ingest", "plan", "train", "evaluate", "export", "parity", "report"}
    assert luthier.value("why", "queued")["schema"] == "luthier.diagnosis/1"
    assert luthier("job", "cancel", "queued").returncode == 0
    ended = luthier("watch", "queued")
    assert ended.returncode == 1
    assert "cancelled" in ended.stderr
    assert luthier("job", "cancel", "queued").returncode == 5


def test_a_daemon_killed_while_someone_watches_is_started_again_and_the_watching_goes_on(
    luthier: Shell, chats: Path
) -> None:
    words = ["tune", str(chats), "--name", "survivor", "--no-serve", "--set", "training.steps=400", "--wait", "--json"]
    command = [sys.executable, "-m", "appliance.cli", *words]
    watching = subprocess.Popen(
        command, cwd=REPOSITORY, env=luthier.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: luthier.value("job", "ls", "--kind", "ingest", "--state", "succeeded")["items"] != [])
    pid = luthier.value("daemon", "status")["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: luthier("daemon", "status").returncode == 0)
    assert luthier.value("daemon", "status")["pid"] != pid
    assert watching.poll() is None
    luthier("job", "cancel", "survivor")
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 1
    assert "went away" in err
    assert json.loads(out)["state"] == "cancelled"


def test_a_file_that_is_not_what_its_name_says_is_rejected_with_8_and_why_explains_it(
    luthier: Shell, tmp_path: Path
) -> None:
    picture = tmp_path / "table.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    done = luthier("tune", str(picture), "--name", "picture", "--wait")
    assert done.returncode == 8, done.stderr
    assert done.stdout == ""
    assert luthier.value("why", "picture")["error"]["code"] in ("unreadable-data", "data-rejected")
    checked = luthier("data", "check", str(picture), "--no-start")
    assert checked.returncode == 8


def test_data_check_needs_no_daemon_and_data_add_keeps_a_ledger(luthier: Shell, chats: Path, tmp_path: Path) -> None:
    alone = Shell(tmp_path / "untouched")
    checked = alone.value("data", "check", str(chats))
    assert checked["schema"] == "luthier.dataset/1"
    assert not (tmp_path / "untouched").exists()
    added = luthier.value("data", "add", str(chats), "--name", "added")
    assert added["rows"] == checked["rows"]
    assert len(luthier.value("data", "rows", "added", "-n", "100")["items"]) == added["rows"]["total"] == 40
    assert luthier.value("data", "preview", "added", "-n", "2")["items"][0]["messages"]
    assert luthier("data", "rm", "added").returncode == 0
    assert luthier("data", "show", "added").returncode == 4


def test_a_plan_gives_every_value_with_its_reason_and_asks_no_daemon(chats: Path, tmp_path: Path) -> None:
    alone = Shell(tmp_path / "untouched")
    plan = alone.value("plan", str(chats), "--set", "training.rank=4")
    assert plan["schema"] == "luthier.plan/1"
    assert plan["rank"] == 4
    assert "asked" in plan["reasons"]["rank"]
    shown = alone("plan", str(chats))
    assert "because" in shown.stdout
    assert not (tmp_path / "untouched").exists()
    too_big = alone("plan", str(chats), "--method", "full", "--hardware", "fake:1x1GB,host=1GB", "--json")
    assert too_big.returncode in (0, 7)


def test_stop_ends_the_daemon_and_restart_starts_another(luthier: Shell) -> None:
    pid = luthier.value("daemon", "start")["pid"]
    assert luthier.value("daemon", "restart")["pid"] != pid
    assert luthier.value("daemon", "stop")["stopped"] is True
    assert luthier.value("daemon", "stop")["stopped"] is False
    assert luthier("job", "ls", "--no-start").returncode == 3
