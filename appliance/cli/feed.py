"""The daemon's events, read in a thread, so that the screen goes on while nothing happens."""

from __future__ import annotations

import queue
import threading
import time
from types import TracebackType
from typing import Any, Self

from appliance.cli.command import Call
from appliance.client import Client, ensure_daemon
from appliance.errors import DaemonUnreachable, LuthierError

LOST = "lost"
"""The daemon went away; it is being started again."""
GONE = "gone"
"""The daemon stays away; ``error`` says why."""
_PATIENCE = 20.0


class Feed:
    """Events of the daemon, across its restarts. A killed daemon is started again, unless that was forbidden."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._over = threading.Event()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def next(self, timeout: float) -> tuple[str, dict[str, Any]] | None:
        """The next event, or None when nothing happened in ``timeout`` seconds. Raises what keeps the daemon away."""
        try:
            event, data = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event == GONE:
            failure = data["error"]
            assert isinstance(failure, LuthierError)
            raise failure
        return event, data

    def _read(self) -> None:
        cursor = 0
        while not self._over.is_set():
            try:
                with Client(self._call.paths) as client:
                    for event in client.stream(cursor):
                        cursor = client.cursor
                        self._events.put(event)
                        if self._over.is_set():
                            return
                self._over.wait(0.2)
            except DaemonUnreachable:
                cursor = 0
                if not self._recover():
                    return
            except LuthierError as error:
                self._events.put((GONE, {"error": error}))
                return

    def _recover(self) -> bool:
        if self._over.is_set():
            return False
        self._events.put((LOST, {}))
        try:
            back_again(self._call)
        except LuthierError as error:
            self._events.put((GONE, {"error": error}))
            return False
        self._events.put(("reset", {}))
        return True


def back_again(call: Call) -> None:
    """Wait for a daemon, or start one. Raises ``DaemonUnreachable``."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            if not call.no_start:
                ensure_daemon(call.paths, call.settings)
            elif call.daemon_status() is None:
                raise DaemonUnreachable(
                    f"No daemon answers on {call.paths.socket}.", hint="Start it with `luthier daemon start`."
                )
        except DaemonUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return
