"""Who is at the other end of the control socket: the kernel says it (SO_PEERCRED), so there is nothing to log in to."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance import durable
from appliance.errors import Conflict

_SO_PEERGROUPS = 59


@dataclass(frozen=True)
class Peer:
    """A process that connected."""

    pid: int
    uid: int
    groups: frozenset[int]


def peer_of(connection: socket.socket) -> Peer:
    """The process at the other end, as it was when it connected (socket(7), unix(7))."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * 1024)
    except OSError:
        raw = b""
    return Peer(pid, uid, frozenset({gid, *struct.unpack(f"{len(raw) // 4}I", raw)}))


def may_control(peer: Peer, path: Path) -> bool:
    """The daemon's own user, root, and the members of the socket's group when it is not the daemon's own.

    A user's own group is what a new socket has by default; only a group given to it on purpose lets others in.
    """
    if peer.uid in (os.getuid(), 0):
        return True
    group = path.stat().st_gid
    return group != os.getgid() and group in peer.groups


class PeerProtocol(H11Protocol):
    """HTTP on the control socket; each request carries who made it, as ``state["peer"]``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection: Any = transport.get_extra_info("socket")
        # A socket of asyncio's own kind hides getsockopt's errors no differently; uvicorn copies this into each scope.
        self.app_state = {**self.app_state, "peer": peer_of(connection)}


def bind(path: Path) -> socket.socket:
    """The control socket, mode 0660 in a private folder. Raises ``Conflict`` when something else is in its place."""
    durable.make_folder(path.parent)
    folder = path.parent.stat()
    if folder.st_uid not in (os.getuid(), 0) or folder.st_mode & 0o022:
        raise Conflict(
            f"The folder of the control socket, {path.parent}, can be written by others.",
            hint=f"chmod 0750 {path.parent}",
        )
    if path.is_symlink() or (path.exists() and not stat.S_ISSOCK(path.stat().st_mode)):
        raise Conflict(f"{path} is not a socket; it is left alone.", hint="Move it away and start the daemon again.")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener
