"""Where the server listens: loopback only, on the port asked for or the next free one."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from appliance.errors import Conflict, NotPermitted

_TRIED = 100


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``NotPermitted`` for anything but loopback, ``Conflict`` when no port is free."""
    address = "127.0.0.1" if host == "localhost" else host
    if not _is_loopback(address):
        raise NotPermitted(
            f"The endpoint may not listen on {host}: it has no access tokens, so only this machine may reach it.",
            hint="Set serve.host to 127.0.0.1, and use an SSH tunnel from elsewhere.",
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    last = port if port == 0 else min(port + _TRIED, 65535)
    for candidate in range(port, last + 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        # A server that was killed leaves connections behind that must not keep its port from the next one.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, candidate))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    raise Conflict(
        f"No port from {port} to {last} is free on {address}.",
        hint="Set serve.port to another one.",
    )


def url_of(listener: socket.socket) -> str:
    """The base address of a listening socket, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
