"""The one reader of the daemon: calls and the event stream, in threads of its own; it touches no widget.

Three kinds of thread, all daemonic, so that closing the dashboard never waits for a socket: one follows the
event stream and reconnects with growing pauses; one reads the devices now and then; and one runs for each thing
asked. What they find is posted to the screens that listen, as the messages of ``messages.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from textual.message import Message

from appliance.errors import DaemonUnreachable, LuthierError
from appliance.text import safe_text
from tui.messages import Done, HistoryRead, JobEvent, Refused, WorldChanged
from tui.reading import Daemon, endpoint, history_of, things, whole_world
from tui.world import Link, LinkState, Thing, World, safe_json

# Seconds between tries to reach the daemon; the last is kept.
BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
DEVICE_SECONDS = 2.0
_BETWEEN_STREAMS = 0.2
_TABLES = {"job": "jobs", "dataset": "datasets", "model": "models", "deployment": "deployments"}


class Listener(Protocol):
    """A screen, or a test."""

    def post_message(self, message: Message, /) -> bool: ...


class Feed:
    """Keeps a ``World`` up to date and tells those who listen."""

    def __init__(
        self,
        client: Daemon,
        *,
        start: Callable[[], object] | None = None,
        back_off: Sequence[float] = BACK_OFF,
        device_seconds: float = DEVICE_SECONDS,
    ) -> None:
        """``start`` brings a daemon up when none answers; it may take long and runs in the feed's thread."""
        self._client = client
        self._start = start
        self._back_off = tuple(back_off)
        self._device_seconds = device_seconds
        self._lock = threading.Lock()
        self._world = World()
        self._listeners: list[Listener] = []
        self._closed = threading.Event()
        self._awake = threading.Event()
        self._may_start = start is not None

    @property
    def world(self) -> World:
        """What is known now; may be read from any thread."""
        return self._world

    def open(self) -> None:
        """Begin to follow the daemon."""
        for target in (self._follow, self._watch_devices):
            threading.Thread(target=target, name=f"feed{target.__name__}", daemon=True).start()

    def close(self) -> None:
        """Stop. Threads that wait for a socket end with it or with the process."""
        self._closed.set()
        self._awake.set()
        self._client.close()

    def listen(self, listener: Listener) -> None:
        """Post every message to ``listener`` from now on."""
        with self._lock:
            self._listeners.append(listener)

    def ignore(self, listener: Listener) -> None:
        """Post nothing more to ``listener``."""
        with self._lock:
            self._listeners = [other for other in self._listeners if other is not listener]

    def reconnect(self) -> None:
        """Try again at once, and start a daemon if none runs and one may be started."""
        self._may_start = self._start is not None
        self._awake.set()

    # What a screen may ask; each returns at once and is answered by a message.

    def read_history(self, asker: Listener, job: str, *, points: int) -> None:
        """The metrics, events and log of a job, as a ``HistoryRead``."""

        def read() -> Message:
            return HistoryRead(job, history_of(self._client, job, points))

        self._ask(asker, "read the job", read)

    def act(self, asker: Listener, job: str, verb: str, sentence: str) -> None:
        """Cancel, pause, resume or rerun a job; answered by a ``Done`` with ``sentence``."""

        def act() -> Message:
            self._client.act(job, verb)
            return Done(sentence)

        self._ask(asker, f"{verb} the job", act)

    def serve(self, asker: Listener, model: str, *, wanted: bool) -> None:
        """Serve a model or stop serving it."""

        def serve() -> Message:
            if wanted:
                self._client.deploy(model)
                return Done("it is being loaded at the endpoint")
            self._client.undeploy(model)
            return Done("it is no longer served")

        self._ask(asker, "serve the model" if wanted else "stop serving the model", serve)

    def _ask(self, asker: Listener, what: str, call: Callable[[], Message]) -> None:
        def answer() -> None:
            try:
                message = call()
            except LuthierError as error:
                message = Refused(what, safe_text(error.message), safe_text(error.hint) if error.hint else None)
            except Exception as error:  # noqa: BLE001  the edge of a thread: the reader must learn that it failed
                message = Refused(what, safe_text(f"{type(error).__name__}: {error}"), None)
            asker.post_message(message)

        threading.Thread(target=answer, name="feed_ask", daemon=True).start()

    # The threads.

    def _follow(self) -> None:
        """Connect, follow, and when the daemon goes, say why and try again."""
        failures = 0
        while not self._closed.is_set():
            self._awake.clear()
            try:
                self._read_everything()
                failures, self._may_start = 0, False
                self._listen_to_stream()
            except DaemonUnreachable as error:
                failure = self._start_daemon(error)
                if failure is None:
                    continue
                lost = _lost(failure)
            except LuthierError as error:
                lost = _lost(error)
            except Exception as error:  # noqa: BLE001  the edge of a thread: what was not foreseen is shown, not fatal
                lost = Link(LinkState.LOST, safe_text(f"{type(error).__name__}: {error}", limit=300))
            if self._closed.is_set():
                return
            pause = self._back_off[min(failures, len(self._back_off) - 1)]
            failures += 1
            self._link(replace(lost, retry_seconds=pause))
            self._awake.wait(pause)

    def _listen_to_stream(self) -> None:
        """Follow the events until an error. A stream that merely ends, because nothing happened for a while, is
        taken up again where it stopped; the pause keeps a daemon that ends every stream from being hammered."""
        while not self._closed.is_set():
            for name, raw in self._client.stream(self._client.cursor):
                if self._closed.is_set():
                    return
                self._take(name, raw)
            self._closed.wait(_BETWEEN_STREAMS)

    def _start_daemon(self, unreachable: LuthierError) -> LuthierError | None:
        """None when one was started. Done when the dashboard opens and when somebody asks, and never by itself:
        a daemon that was stopped stays stopped."""
        if self._start is None or not self._may_start:
            return unreachable
        self._may_start = False
        self._link(Link(LinkState.CONNECTING, "starting the daemon"))
        try:
            self._start()
        except LuthierError as failure:
            return failure
        return None

    def _take(self, name: str, raw: Mapping[str, Any]) -> None:
        """Take in one event of the stream."""
        if name == "reset":
            self._read_everything()
            return
        data = safe_json(raw)
        if name == "progress":
            job, event = str(data.get("job")), data.get("event") or {}
            self._change(lambda world: world.told(job, event), JobEvent(job, event))
        elif name in _TABLES:
            self._change(lambda world: world.changed(_TABLES[name], data))
            if name == "deployment":
                served = endpoint(self._client)
                self._change(lambda world: replace(world, endpoint=served))
        elif name == "status":
            self._change(lambda world: replace(world, status=data))

    def _read_everything(self) -> None:
        """Read the whole world and be live."""
        fresh = whole_world(self._client, self._world)
        live = Link(LinkState.LIVE, "live")
        self._change(lambda world: replace(fresh, busy=world.busy, link=live))

    def _watch_devices(self) -> None:
        """Read the devices while the daemon answers; what goes wrong here is the other thread's to tell."""
        while not self._closed.wait(self._device_seconds):
            if self._world.link.state is not LinkState.LIVE:
                continue
            try:
                devices, served = things(self._client.devices()), endpoint(self._client)
            except Exception:  # noqa: BLE001, S112  a missed sample is nothing; a lost daemon is told by the stream
                continue
            self._change(partial(_sampled, devices, served))

    def _link(self, link: Link) -> None:
        self._change(lambda world: replace(world, link=link))

    def _change(self, change: Callable[[World], World], *messages: Message) -> None:
        """Put another world in place of this one and tell it, after ``messages``.

        Two threads change the world: what each changes is worked out while the other waits, or one would undo
        what the other has just learnt.
        """
        with self._lock:
            world = self._world = change(self._world)
            listeners = list(self._listeners)
            for listener in listeners:
                for message in (*messages, WorldChanged(world)):
                    listener.post_message(message)


def _sampled(devices: list[Thing], served: Thing | None, world: World) -> World:
    return replace(world.sampled(devices), endpoint=served)


def _lost(error: LuthierError) -> Link:
    hint = safe_text(error.hint, limit=300) if error.hint else None
    return Link(LinkState.LOST, safe_text(error.message, limit=300), hint)
