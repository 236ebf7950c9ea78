"""The chat: an answer appears as it is written, can be stopped, and a failure is said in words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tui_daemons import MemoryDaemon, busy_daemon
from tui_pilot import dashboard, screen, shows, type_, until

pytestmark = pytest.mark.asyncio


class Endpoint:
    """An OpenAI endpoint whose answers a test writes."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.pieces: list[str] = ["Berth ", "four", "."]
        self.refusal: tuple[int, bytes] | None = None
        self.wait_before: dict[int, threading.Event] = {}
        self.left = threading.Event()
        endpoint = self

        class Talk(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.asked.append({"path": self.path} | json.loads(body))
                endpoint.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Talk)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        status, body = self.refusal or (200, b"")
        request.send_response(status)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        request.wfile.write(body)
        if self.refusal:
            return
        try:
            for place, piece in enumerate(self.pieces):
                if place in self.wait_before:
                    self.wait_before[place].wait(30)
                chunk = {"choices": [{"delta": {"content": piece}}]}
                request.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                request.wfile.flush()
            request.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.left.set()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def talking(endpoint: Endpoint) -> Callable[[], MemoryDaemon]:
    def make() -> MemoryDaemon:
        daemon = busy_daemon()
        daemon.serving = {"base_url": endpoint.url, "state": "ready", "models": ["harbour", "alpaca-tiny"]}
        return daemon

    return make


async def test_a_question_is_answered_piece_by_piece(endpoint: Endpoint, talking: Callable[[], MemoryDaemon]) -> None:
    endpoint.wait_before[2] = threading.Event()
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await shows(pilot, "● harbour")
        await type_(pilot, "which berth")
        await pilot.press("enter")
        await shows(pilot, "Berth four")
        assert "Berth four." not in screen(pilot), "the last piece has not come"
        endpoint.wait_before[2].set()
        await shows(pilot, "Berth four.")
        await shows(pilot, "3 tokens")
        assert endpoint.asked[0]["path"] == "/v1/chat/completions"
        assert endpoint.asked[0]["model"] == "harbour"
        await type_(pilot, "sure")
        await pilot.press("enter")
        await until(pilot, lambda: len(endpoint.asked) == 2)
        assert [message["role"] for message in endpoint.asked[1]["messages"]] == ["user", "assistant", "user"]


async def test_an_answer_is_stopped_and_the_server_is_told(
    endpoint: Endpoint, talking: Callable[[], MemoryDaemon]
) -> None:
    endpoint.pieces = ["word "] * 100_000
    endpoint.wait_before[3] = threading.Event()
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await type_(pilot, "go")
        await pilot.press("enter")
        await shows(pilot, "word word")
        await pilot.press("escape")
        await shows(pilot, "stopped")
        endpoint.wait_before[3].set()
        await until(pilot, endpoint.left.is_set)
        assert pilot.app.current_mode == "chat"


async def test_ctrl_c_stops_the_answer_even_while_writing(
    endpoint: Endpoint, talking: Callable[[], MemoryDaemon]
) -> None:
    endpoint.wait_before[1] = threading.Event()
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await type_(pilot, "go")
        await pilot.press("enter")
        await shows(pilot, "Berth")
        await pilot.press("ctrl+c")
        await shows(pilot, "stopped")
        endpoint.wait_before[1].set()


async def test_a_refusal_is_told_in_the_servers_own_words(
    endpoint: Endpoint, talking: Callable[[], MemoryDaemon]
) -> None:
    body = {"error": {"message": "The prompt has 900 tokens; the model takes 512.", "code": "context_length_exceeded"}}
    endpoint.refusal = (400, json.dumps(body).encode())
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await type_(pilot, "go")
        await pilot.press("enter")
        await shows(pilot, "The prompt has 900 tokens; the model takes 512.")


async def test_an_endpoint_that_is_gone_is_an_error_in_the_chat_not_a_crash(
    endpoint: Endpoint, talking: Callable[[], MemoryDaemon]
) -> None:
    endpoint.server.shutdown()
    endpoint.server.server_close()
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await type_(pilot, "go")
        await pilot.press("enter")
        await shows(pilot, "Connection refused")


async def test_an_answer_cannot_write_to_the_terminal(endpoint: Endpoint, talking: Callable[[], MemoryDaemon]) -> None:
    endpoint.pieces = ["a\x1b]52;c;aGk=\x07", "[/nope]", "\x9b2J done"]
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await type_(pilot, "go")
        await pilot.press("enter")
        await shows(pilot, "done")
        assert "[/nope]" in screen(pilot)
        assert not {"\x1b", "\x07", "\x9b"} & set(screen(pilot))


async def test_another_model_and_a_new_chat_are_a_key_away(
    endpoint: Endpoint, talking: Callable[[], MemoryDaemon]
) -> None:
    async with dashboard(talking()) as pilot:
        await pilot.press("c")
        await type_(pilot, "go")
        await pilot.press("enter")
        await shows(pilot, "3 tokens")
        await pilot.press("escape", "m")
        await shows(pilot, "● alpaca-tiny")
        await pilot.press("n")
        await shows(pilot, "Ask something")
        await type_(pilot, "i")
        await type_(pilot, "hello")
        await pilot.press("enter")
        await until(pilot, lambda: len(endpoint.asked) == 2)
        assert endpoint.asked[1]["model"] == "alpaca-tiny"
        assert endpoint.asked[1]["messages"] == [{"role": "user", "content": "hello"}]
