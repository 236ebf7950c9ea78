"""What every request passes first: who makes it, and how much it may send."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.errors import NotPermitted, UsageError
from scheduler.api.peer import Peer
from scheduler.api.problems import problem

LARGEST_BODY = 4 << 20
"""Bytes. A spec is a few kilobytes; data comes by path."""


class Guard:
    """Refuses strangers and oversized bodies before anything is parsed."""

    def __init__(self, app: ASGIApp, allowed: Callable[[Peer | None], bool]) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        peer = scope.get("state", {}).get("peer")
        if not self.allowed(peer):
            who = f"User {peer.uid}" if isinstance(peer, Peer) else "Somebody unknown"
            refusal = NotPermitted(f"{who} may not control this daemon.", hint="Ask for membership in its group.")
            await problem(refusal)(scope, receive, send)
            return
        if _announced(scope) > LARGEST_BODY:
            await problem(UsageError(f"The request is larger than {LARGEST_BODY} bytes."), 413)(scope, receive, send)
            return
        await self.app(scope, _limited(receive), send)


def _announced(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _limited(receive: Receive) -> Receive:
    """Cut the connection of a client that sends more than it announced."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > LARGEST_BODY else message

    return counted
