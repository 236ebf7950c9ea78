"""The door: who may ask, how much, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.openai.errors import ApiError

BODY_MOST = 4 * 1024 * 1024
_BODY_SECONDS = 30.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """Wraps the application: checks Host and Origin, reads the body within bounds, names every request.

    A page in a browser must not reach the endpoint by a name that resolves to this machine (DNS rebinding), so
    only known hosts are answered, and no cross-origin headers are ever sent.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], respond: Callable[[int], None]) -> None:
        self._app = app
        self._hosts = hosts | LOOPBACK
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = secrets.token_hex(8)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = name
                self._respond(message["status"])
            await send(message)

        try:
            self._check(Headers(scope=scope))
            body = await _read(Headers(scope=scope), receive)
        except ApiError as error:
            await error.response()(scope, receive, named)
            return
        await self._app(scope, _replay(body, receive), named)

    def _check(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host(hosts[0]) not in self._hosts:
            raise ApiError(403, "host_not_allowed", "This endpoint answers only under the names it was given.")
        origin = headers.get("origin")
        if origin is not None and (urlsplit(origin).hostname or "") not in self._hosts:
            raise ApiError(403, "origin_not_allowed", "This endpoint is not for pages of other origins.")
        if len(headers.getlist("content-length")) > 1 or (
            "content-length" in headers and "transfer-encoding" in headers
        ):
            raise ApiError(400, "ambiguous_length", "The request states its length twice.")


async def _read(headers: Headers, receive: Receive) -> bytes:
    """The whole body. Raises ``ApiError`` when it is too large or does not come."""
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise ApiError(400, "invalid_length", "The Content-Length is not a number.")
    if int(length[:20]) > BODY_MOST:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(400, "client_closed_request", "The client went away.")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > BODY_MOST:
                    raise _too_large()
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise ApiError(408, "request_timeout", f"The body did not arrive in {_BODY_SECONDS:.0f} s.") from error


def _too_large() -> ApiError:
    return ApiError(413, "body_too_large", f"The body is larger than {BODY_MOST // 1024**2} MiB.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once and then tells of the client's leaving."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _host(header: str) -> str:
    """The host of a ``Host`` header without its port; empty for anything odd."""
    if "@" in header or "/" in header or not header.isascii():
        return ""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return ""
    return parts.hostname or ""
