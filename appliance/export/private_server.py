"""A private inference server on loopback for one artifact, spoken to over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from appliance.errors import ParityFailed, TimedOut
from appliance.export.compare import Served

MODEL = "check"
TOP = 64
_START_SECONDS = 600.0
_ANSWER_SECONDS = 600.0
_ROOT = Path(__file__).resolve().parents[2]


class PrivateServer:
    """``python -m serving --check`` while the block lasts. It ends when we do: its stdin is our pipe."""

    def __init__(self, artifact: Path, tokenizer: Path) -> None:
        self._command = [sys.executable, "-m", "serving", "--check", str(artifact)]
        self._command += ["--tokenizer", str(tokenizer), "--port", "0"]

    def __enter__(self) -> PrivateServer:
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            self._netloc = urlsplit(self._started()["url"]).netloc
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def facts(self, tokens: int) -> dict[str, Any]:
        """What the artifact says of itself."""
        return self._ask("GET", f"/check/facts?tokens={tokens}")

    def tokenize(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        """The ids the engine would be given for a text or a conversation."""
        return tuple(self._ask("POST", "/check/tokenize", body)["ids"])

    def score(self, ids: Sequence[int]) -> Served:
        """What the artifact expects at each place of ``ids`` from the second on."""
        body = {"prompt": list(ids), "max_tokens": 0, "echo": True, "logprobs": TOP, "temperature": 0}
        answer = self._ask("POST", "/v1/completions", body | {"return_tokens_as_token_ids": True})
        found = answer["choices"][0]["logprobs"]
        top = tuple(
            {int(name.removeprefix("token_id:")): value for name, value in place.items()}
            for place in found["top_logprobs"][1:]
        )
        return Served(tuple(found["token_logprobs"][1:]), top)

    def chat(self, messages: Sequence[Mapping[str, Any]], most: int) -> tuple[str, str]:
        """The greedy answer to a conversation, and why it ended."""
        body = {"messages": list(messages), "max_tokens": most, "temperature": 0}
        choice = self._ask("POST", "/v1/chat/completions", body)["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]

    def _started(self) -> dict[str, Any]:
        lines: queue.Queue[bytes] = queue.Queue()
        stdout = self._process.stdout
        assert stdout is not None
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=_START_SECONDS)
        except queue.Empty as error:
            raise TimedOut(f"The check server did not come up in {_START_SECONDS:.0f} s.") from error
        if not line:
            raise ParityFailed(f"The engine died while loading the file ({self._ending()}).")
        told: dict[str, Any] = json.loads(line)
        if not told["ok"]:
            raise ParityFailed(str(told["message"]))
        return told

    def _ending(self) -> str:
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._netloc, timeout=_ANSWER_SECONDS)
        try:
            sent = None if body is None else json.dumps({"model": MODEL, **body})
            connection.request(method, path, sent, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ParityFailed(f"The server stopped answering at {path} ({error!r}, {self._alive()}).") from error
        finally:
            connection.close()
        if response.status != 200:
            raise ParityFailed(f"{method} {path} was answered {response.status}: {answer.get('error')}")
        return dict(answer)

    def _alive(self) -> str:
        return "it runs" if self._process.poll() is None else self._ending()
