"""The server as a job: it follows models.json, survives what it is given, drains, and leaves nothing stale."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from serving_world import REPOSITORY, Server, make_serve_job, running, write_models

from appliance.events import EventType, EventWriter
from appliance.export.engine.gguf_file import convert


@pytest.fixture(scope="module")
def file(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("file") / "starter.gguf"
    convert(starter, out, "q8_0")
    return out


def entry(file: Path, starter: Path, id_: str = "one", *aliases: str) -> dict[str, Any]:
    return {"id": id_, "aliases": list(aliases), "path": str(file), "tokenizer": str(starter), "engine": "llama_cpp"}


def get(server: Server, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def names(server: Server) -> list[str]:
    return [model["id"] for model in get(server, "/v1/models")[1]["data"]]


def ask(server: Server, model: str, tokens: int = 4) -> int:
    messages = [{"role": "user", "content": "Hello"}]
    return get(server, "/v1/chat/completions", {"model": model, "messages": messages, "max_tokens": tokens})[0]


def test_it_follows_models_json(file: Path, starter: Path, tmp_path: Path) -> None:
    job = make_serve_job(tmp_path / "job")
    with running(job) as server:
        assert names(server) == []
        assert ask(server, "one") == 404
        write_models(job.path, entry(file, starter, "one"))
        assert server.wait_for("loaded")["model"] == "one"
        assert ask(server, "one") == 200
        write_models(job.path, entry(file, starter, "one", "live"), entry(file, starter, "two"))
        server.wait_for("loaded", 3)
        assert sorted(names(server)) == ["live", "one", "two"]
        assert ask(server, "live") == ask(server, "two") == 200
        write_models(job.path, entry(file, starter, "two"))
        assert server.wait_for("unloaded")["model"] == "one"
        assert (ask(server, "one"), ask(server, "live"), ask(server, "two")) == (404, 404, 200)


def test_a_model_that_cannot_be_loaded_does_not_hurt_the_others(file: Path, starter: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:-5000])
    missing = entry(tmp_path / "missing.gguf", starter, "missing")
    with running(
        make_serve_job(tmp_path / "job", entry(broken, starter, "broken"), missing, entry(file, starter))
    ) as server:
        server.wait_for("loaded", 3)
        assert {e["model"]: e["ok"] for e in server.events("loaded")} == {
            "broken": False,
            "missing": False,
            "one": True,
        }
        assert ask(server, "one") == 200
        status, answer = get(server, "/v1/models/broken")
        assert (status, answer["error"]["code"]) == (503, "model_failed")
        assert "outside the file" in answer["error"]["message"]


def test_an_unreadable_list_of_models_leaves_what_is_served(file: Path, starter: Path, tmp_path: Path) -> None:
    job = make_serve_job(tmp_path / "job", entry(file, starter))
    with running(job) as server:
        server.wait_for("loaded")
        (job.path / "models.json").write_text("{")
        assert server.wait_for("warned")["code"] == "corrupt-folder"
        assert ask(server, "one") == 200


def test_the_next_free_port_is_taken_and_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(make_serve_job(tmp_path / "job", port=port)) as server:
            assert port < int(server.url.rsplit(":", 1)[1]) <= port + 100
            until(lambda: get(server, "/health")[0] == 200)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.com", "::"])
def test_it_listens_on_loopback_only(host: str, tmp_path: Path) -> None:
    job = make_serve_job(tmp_path / "job", host=host)
    with running(job) as server:
        assert server.process.wait(30) == 1
    error = (job.read_result(1) or {})["error"]
    assert (error["code"], server.events("ready")) == ("not-permitted", [])


def test_sigterm_at_any_moment_ends_it_with_a_result(file: Path, starter: Path, tmp_path: Path) -> None:
    job = make_serve_job(tmp_path / "job", entry(file, starter))
    with running(job) as server:
        server.wait_for("started")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    assert (job.read_result(1) or {})["ok"] is True


def test_sigterm_answers_what_is_in_flight_and_ends_well(file: Path, starter: Path, tmp_path: Path) -> None:
    job = make_serve_job(tmp_path / "job", entry(file, starter))
    with running(job) as server:
        server.wait_for("loaded")
        bias = {str(end): -100 for end in range(6)}
        body = {"model": "one", "prompt": [300], "max_tokens": 300, "logit_bias": bias}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        request = urllib.request.Request(f"{server.url}/v1/completions", json.dumps(body).encode())
        lines: list[bytes] = []
        with urllib.request.urlopen(request, timeout=30) as response:
            lines.append(response.readline())
            reader = threading.Thread(target=lambda: lines.extend(response))
            reader.start()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
            reader.join(30)
    assert lines[-2] == b"data: [DONE]\n"
    told = json.loads(lines[-4].removeprefix(b"data: "))
    assert told["usage"]["completion_tokens"] == 300
    assert (job.read_result(1) or {})["ok"] is True
    assert server.events("ended")[0]["ok"] is True


def test_a_killed_server_leaves_nothing_stale(file: Path, starter: Path, tmp_path: Path) -> None:
    """The next attempt gets the same port and the same models, and no half-written event confuses it."""
    job = make_serve_job(tmp_path / "job", entry(file, starter))
    with running(job) as server:
        server.wait_for("loaded")
        url = server.url
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    assert job.read_result(1) is None
    with job.events.open("ab") as stream:
        stream.write(b'{"v":1,"seq":99,"ty')
    with running(job, attempt=2) as server:
        assert server.wait_for("loaded")["ok"]
        assert server.url == url
        assert ask(server, "one") == 200


@pytest.mark.parametrize(("deaths", "served"), [(1, True), (2, False)])
def test_a_model_that_kills_the_server_twice_is_left_out(
    deaths: int, served: bool, file: Path, starter: Path, tmp_path: Path
) -> None:
    job = make_serve_job(tmp_path / "job", entry(file, starter, "deadly"))
    for attempt in range(1, deaths + 1):
        events = EventWriter(job.events, attempt=attempt)
        events.emit(EventType.PHASE, name="loading deadly", path=str(file))
        events.close()
    with running(job, attempt=deaths + 1) as server:
        assert server.wait_for("loaded")["ok"] is served


def test_the_check_server_says_where_it_is_and_ends_with_its_stdin(file: Path, starter: Path) -> None:
    process = check_server(file, starter)
    assert process.stdin
    assert process.stdout
    told = json.loads(process.stdout.readline())
    assert urllib.request.urlopen(told["url"] + "/health", timeout=10).status == 200
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


def test_the_check_server_says_why_it_is_not(file: Path, starter: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    shutil.copyfile(starter / "tokenizer.json", wrong)
    process = check_server(wrong, starter)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "does not begin with GGUF" in json.loads(out)["message"]


def check_server(file: Path, tokenizer: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "serving", "--check", str(file), "--tokenizer", str(tokenizer), "--port", "0"]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
