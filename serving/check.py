"""A private server for the parity check: ``python -m serving --check GGUF --tokenizer DIR --port 0``.

It says on stdout, in one line of JSON, where it listens or why it does not, and ends when its stdin is closed.
Besides the public routes it tells what the artifact says of itself and how it turns text into ids.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.errors import LuthierError
from appliance.export.reference import digest_tokens
from serving.address import bind, url_of
from serving.app import build_app
from serving.gguf_check import check_gguf
from serving.openai.body import parse_json
from serving.openai.errors import invalid
from serving.openai.parameters import parse_chat
from serving.openai.routes import encode_text, render
from serving.server import Stop
from serving.shelf import Entry, Shelf

NAME = "check"
_LOGPROBS_MOST = 512


def serve_check(path: Path, tokenizer: Path, port: int) -> int:
    """Serve one file under the name ``check`` until stdin ends; exit status 1 when it is refused."""
    stop, shelf = Stop(), Shelf(slots=1)
    try:
        listener = bind("127.0.0.1", port)
        shelf.apply([Entry(id=NAME, path=str(path.absolute()), tokenizer=str(tokenizer.absolute()))], _quiet)
    except LuthierError as error:
        _say({"ok": False, "message": error.message})
        return 1
    if (failure := shelf.failure(NAME)) is not None:
        _say({"ok": False, "message": failure})
        return 1
    routes = [
        Route("/check/facts", Facts(shelf, path)),
        Route("/check/tokenize", Tokenize(shelf), methods=["POST"]),
    ]
    app = build_app(shelf, most_logprobs=_LOGPROBS_MOST, more_routes=routes)
    threading.Thread(target=_end_with_stdin, args=(stop,), daemon=True).start()
    _say({"ok": True, "url": url_of(listener)})
    stop.run(app, listener)
    shelf.close()
    return 0


class Facts:
    """``GET /check/facts?tokens=N``: what the artifact says of itself, and a digest of its first N tokens."""

    def __init__(self, shelf: Shelf, path: Path) -> None:
        self._shelf = shelf
        self._file = check_gguf(path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._respond(Request(scope))(scope, receive, send)

    def _respond(self, request: Request) -> Response:
        facts = self._shelf.models[0].loaded.engine.facts
        count = int(request.query_params.get("tokens", "0"))
        body = {
            "begin": facts.begin,
            "ends": sorted(facts.ends),
            "context": facts.context,
            "vocabulary": facts.vocabulary,
            "template": self._file.template,
            "tokens": digest_tokens(self._file.tokens[:count]),
        }
        return JSONResponse(body)


class Tokenize:
    """``POST /check/tokenize`` of ``{"text": …}`` or a chat request: the ids the engine would be given."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = self._respond(parse_json(await Request(scope, receive).body()))
        await response(scope, receive, send)

    def _respond(self, body: dict[str, Any]) -> Response:
        loaded = self._shelf.models[0].loaded
        if "messages" in body:
            return JSONResponse({"ids": render(loaded, parse_chat(body | {"model": NAME}).messages)})
        if not isinstance(body.get("text"), str):
            raise invalid("text or messages are needed.", "text")
        return JSONResponse({"ids": encode_text(loaded, body["text"])})


def _quiet(_model: str, _ok: bool, _message: str) -> None:
    """What happened is asked of the shelf afterwards."""


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _end_with_stdin(stop: Stop) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.request()
