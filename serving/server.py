"""The long-lived server of a job folder: ``python -m serving JOBDIR --attempt N``.

It serves what ``models.json`` lists and follows its changes, tells of them in ``events.jsonl``, and on SIGTERM
answers what is in flight, writes ``result.json`` and ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from appliance import durable
from appliance.errors import CorruptFolder, LuthierError
from appliance.events import EventType, EventWriter, read_events
from appliance.jobdir import JobDir
from serving.address import bind, url_of
from serving.app import build_app
from serving.shelf import Entry, Shelf, read_entries

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.3
_DRAIN_SECONDS = 20
_LOADS_SURVIVED = 2
_CONNECTIONS = 512


class Stop:
    """SIGTERM and SIGINT, from the first moment on: the server drains and ends."""

    def __init__(self) -> None:
        self._requested = False
        self._server: uvicorn.Server | None = None
        # uvicorn handles both while it runs and raises them again once it has drained; that comes here too.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.request())

    def request(self) -> None:
        """End the server now or as soon as it runs."""
        self._requested = True
        if self._server:
            self._server.should_exit = True

    def run(self, app: ASGIApp, listener: socket.socket) -> None:
        """Answer on ``listener`` until asked to stop."""
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            log_level="warning",
            server_header=False,
            lifespan="off",
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        threading.excepthook = _die
        self._server = uvicorn.Server(config)
        self._server.should_exit = self._requested
        self._server.run(sockets=[listener])


def serve_job(folder: JobDir, attempt: int) -> int:
    """Serve until SIGTERM; exit status 0 when it ended as asked."""
    stop = Stop()
    durable.make_folder(folder.attempt(attempt))
    events = EventWriter(folder.events, attempt=attempt)
    try:
        result: dict[str, Any] = {"ok": True, "result": _serve(folder, events, stop)}
    except LuthierError as error:
        logger.warning("The server ended with a named failure.", extra={"code": error.code})
        result = {"ok": False, "error": error.as_dict()}
    events.emit(EventType.ENDED, ok=result["ok"], code=None if result["ok"] else result["error"]["code"])
    events.close()
    durable.write_json(folder.result_file(attempt), result)
    return 0 if result["ok"] else 1


def _serve(folder: JobDir, events: EventWriter, stop: Stop) -> dict[str, Any]:
    job = folder.read()
    settings = dict(job.settings.get("serve") or {})
    events.emit(EventType.STARTED, kind=job.kind, pid=os.getpid())
    listener = bind(str(settings.get("host", "127.0.0.1")), int(settings.get("port", 8777)))
    shelf = Shelf(context=int(settings.get("context", 0)), slots=int(settings.get("slots", 4)))
    watcher = Watcher(folder.path / "models.json", shelf, events, deadly_loads(folder.events))
    url = url_of(listener)
    events.emit(EventType.READY, url=url)
    watcher.start()
    try:
        stop.run(build_app(shelf, hosts=frozenset({listener.getsockname()[0]})), listener)
    finally:
        watcher.stop()
        shelf.close()
    return {"url": url}


def _die(args: threading.ExceptHookArgs) -> None:
    """A thread that ends by a bug would leave requests waiting for ever: better a new process than half of one."""
    threading.__excepthook__(args)
    os._exit(70)


class Watcher:
    """A thread that keeps the shelf as ``models.json`` says and writes events about it."""

    def __init__(self, path: Path, shelf: Shelf, events: EventWriter, deadly: frozenset[str]) -> None:
        self._path = path
        self._shelf = shelf
        self._events = events
        self._deadly = deadly
        self._stopping = threading.Event()
        self._seen: object = self
        self._thread = threading.Thread(target=self._run, name="models.json", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for a load in progress."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            stamp = _stamp(self._path)
            if stamp != self._seen:
                self._seen = stamp
                self._apply()
            self._stopping.wait(_POLL_SECONDS)

    def _apply(self) -> None:
        try:
            entries = read_entries(self._path)
        except CorruptFolder as error:
            self._events.emit(EventType.WARNED, code=error.code, message=error.message)
            return
        for entry in entries:
            if entry.path in self._deadly:
                message = f"Loading {entry.path} ended this server {_LOADS_SURVIVED} times; it is left out."
                self._loaded(entry.id, False, message)
        safe = [entry for entry in entries if entry.path not in self._deadly]
        for gone in self._shelf.apply(safe, self._loaded, self._loading):
            self._events.emit(EventType.UNLOADED, model=gone)

    def _loading(self, entry: Entry) -> None:
        self._events.emit(EventType.PHASE, name=f"loading {entry.id}", path=entry.path)

    def _loaded(self, model: str, ok: bool, message: str) -> None:
        self._events.emit(EventType.LOADED, model=model, ok=ok, message=message)


def deadly_loads(events: Path) -> frozenset[str]:
    """The files that were being loaded when an earlier attempt died, twice or more.

    One model that kills its engine must not take the endpoint, and every other model, down for good.
    """
    deaths: Counter[str] = Counter()
    loading: dict[int, str] = {}
    for event in read_events(events):
        attempt = event.get("attempt", 0)
        if event["type"] == EventType.PHASE and isinstance(event.get("path"), str):
            loading[attempt] = event["path"]
        elif event["type"] in (EventType.LOADED, EventType.ENDED):
            loading.pop(attempt, None)
    deaths.update(loading.values())
    return frozenset(path for path, count in deaths.items() if count >= _LOADS_SURVIVED)


def _stamp(path: Path) -> object:
    """Changes when the file is replaced."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)
