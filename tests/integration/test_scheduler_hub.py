"""A base model that is on the hub: a stand-in for the hub on loopback, the real client, the real worker."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from scheduler_home import Home, until

from appliance.errors import NetworkNotAllowed

COMMIT = "a" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "code.py": b"import os", "pytorch_model.bin": b"\x80"}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as one download asks for."""

    asked: ClassVar[list[str]] = []

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "/missing" in self.path:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in self.path:
            body = FILES[self.path.rpartition("/")[2]]
            self._answer(200, body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT})
        elif "/tree/" in self.path:
            entries = [{"type": "file", "path": name, "size": len(body), "oid": ""} for name, body in FILES.items()]
            self._answer(200, json.dumps(entries).encode(), {})
        else:
            self._answer(200, json.dumps({"id": "org/model", "sha": COMMIT, "siblings": []}).encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Home]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hub.asked.clear()
    made = Home(tmp_path / "home")
    made.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    yield made
    made.close()
    server.shutdown()
    server.server_close()


def test_an_allowed_hub_id_is_fetched_by_a_job_of_its_own_and_without_code_or_pickles(house: Home) -> None:
    house.environ["LUTHIER_NETWORK__OFFLINE"] = "false"
    house.start()
    asked = {"name": "hubbed", "data": {"path": house.rows()}, "base": {"model": "org/model"}}
    with house.client() as client:
        tune = client.start_tune(asked | {"training": {"steps": 1}, "serve": {"enabled": False}})["pipeline"]
        done = until(lambda: found if (found := client.pipeline(tune))["state"] != "running" else None, "its end", 60)
        assert done["state"] == "succeeded", done["error"]
        assert done["jobs"][0]["kind"] == "fetch"
        base = Path(done["base"])
        assert client.job(done["jobs"][2]["id"])["inputs"]["base"] == str(base)
        assert {path.name for path in base.iterdir()} == {"config.json", "model.safetensors"}
        Hub.asked.clear()
        again = client.start_tune(asked | {"serve": {"enabled": False}})["jobs"][0]
        assert house.ended(again["id"])["result"] == {"base": str(base)}
        assert not [path for path in Hub.asked if "/resolve/" in path]


def test_a_hub_id_that_does_not_exist_fails_the_tune_and_says_so(house: Home) -> None:
    house.environ["LUTHIER_NETWORK__OFFLINE"] = "false"
    house.start()
    with house.client() as client:
        tune = client.start_tune({"data": {"path": house.rows()}, "base": {"model": "org/missing"}})["pipeline"]
        done = until(lambda: found if (found := client.pipeline(tune))["state"] != "running" else None, "its end", 60)
    assert done["error"]["code"] == "not-found"
    assert "org/missing" in done["error"]["message"]


def test_offline_the_hub_is_never_asked(house: Home) -> None:
    house.start()
    with house.client() as client, pytest.raises(NetworkNotAllowed):
        client.start_tune({"data": {"path": house.rows()}, "base": {"model": "org/model"}})
    assert Hub.asked == []
