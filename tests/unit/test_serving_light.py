"""The server stays light, and the door in front of it is shut to what may not come in."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from serving.guard import BODY_MOST, Guard
from serving.openai.body import DEPTH, parse_json
from serving.openai.errors import ApiError

REPOSITORY = Path(__file__).parents[2]


def test_the_server_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, serving.__main__, serving.server, serving.check, serving.engines.llama_cpp\n"
        "import appliance.export.parity\n"
        "print(sorted({'torch', 'transformers', 'peft', 'sqlalchemy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_parity_check_and_the_formats_load_nothing_heavy() -> None:
    code = (
        "import sys, appliance.export.parity, appliance.export.formats, appliance.export.vocabulary\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'gguf', 'llama_cpp', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def knock(headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> tuple[int, bytes]:
    """The status the guard gives, and the body the application behind it saw."""
    seen: list[bytes] = []
    sent: list[Message] = []
    incoming = [{"type": "http.request", "body": p, "more_body": i + 1 < len(parts)} for i, p in enumerate(parts)]

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(Guard(app, frozenset({"box.lan"}), lambda _status: None)(scope, receive, send))
    assert b"x-request-id" in dict(sent[0]["headers"])
    return sent[0]["status"], b"".join(seen)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8777", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8777", 200),
        ("box.lan:8777", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("localhost@evil.example", 403),
        ("localhost/x", 403),
        ("localhost:port", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_only_its_own_names_are_answered(host: str, status: int) -> None:
    assert knock([(b"host", host.encode())], [b""])[0] == status


def test_a_request_without_or_with_two_hosts_is_refused() -> None:
    assert knock([], [b""])[0] == 403
    assert knock([(b"host", b"localhost"), (b"host", b"evil")], [b""])[0] == 403


def test_the_body_is_passed_on_whole_and_within_bounds() -> None:
    host = (b"host", b"localhost")
    assert knock([host], [b"a", b"b", b"c"]) == (200, b"abc")
    assert knock([host], [b" " * BODY_MOST]) == (200, b" " * BODY_MOST)
    assert knock([host], [b" " * BODY_MOST, b" "])[0] == 413
    assert knock([host, (b"content-length", str(BODY_MOST + 1).encode())], [b""])[0] == 413
    for odd in (b"-1", b"1e3", b"\xb2"):
        assert knock([host, (b"content-length", odd)], [b""])[0] == 400
    both = [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]
    assert knock([host, *both], [b"a"])[0] == 400


def test_a_body_that_breaks_off_reaches_nobody() -> None:
    assert knock([(b"host", b"localhost")], []) == (400, b"")


def test_brackets_inside_texts_do_not_count_as_depth() -> None:
    assert parse_json(b'{"a": "' + b"[" * 1000 + b'"}') == {"a": "[" * 1000}
    assert parse_json(b'{"a": "\\"' + b"[" * 1000 + b'"}')["a"][0] == '"'
    deep = b'{"a":' * (DEPTH - 1) + b"{}" + b"}" * (DEPTH - 1)
    assert parse_json(deep)
    with pytest.raises(ApiError):
        parse_json(b'{"a":' * DEPTH + b"{}" + b"}" * DEPTH)
