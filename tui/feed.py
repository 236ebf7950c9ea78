"""The one reader of the daemon: calls and the event stream, in threads of its own; it touches no widget.

Three kinds of thread, all daemonic, so that closing the dashboard never waits for a socket: one follows the
event stream and reconnects with growing pauses; one reads the devices now and then; and one runs for each thing
asked. What they find is posted to the screens that listen, as the messages of ``messages.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from textual.message import Message

from appliance.errors import DaemonUnreachable, LuthierError, NotFound
from appliance.text import safe_text
from tui.messages import Done, HistoryRead, JobEvent, JobHistory, Refused, WorldChanged
from tui.world import (
    RECENT,
    Link,
    LinkState,
    Live,
    Thing,
    World,
    by_id,
    items,
    number,
    safe_json,
    section,
    thinned,
)

# Seconds between tries to reach the daemon; the last is kept.
BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
DEVICE_SECONDS = 2.0
_BETWEEN_STREAMS = 0.2
# A job's past is read in pages of a thousand events; a screen shows no more than the last thousand.
_MOST_PAGES = 200
_KEPT_EVENTS = 1000
_TABLES = {"job": "jobs", "dataset": "datasets", "model": "models", "deployment": "deployments"}


class Daemon(Protocol):
    """What the feed needs of ``appliance.client.Client``; several threads use it at once."""

    cursor: int

    def status(self) -> dict[str, Any]: ...
    def jobs(self, *, limit: int | None = None) -> Any: ...
    def datasets(self) -> Any: ...
    def models(self) -> Any: ...
    def deployments(self) -> Any: ...
    def endpoint(self) -> dict[str, Any]: ...
    def devices(self) -> Any: ...
    def act(self, id: str, verb: str, /) -> Any: ...
    def events(self, id: str, after: int = 0, /) -> Any: ...
    def metrics(self, id: str, points: int = 200, /) -> dict[str, Any]: ...
    def log(self, id: str, /) -> Any: ...
    def deploy(self, model: str, /) -> Any: ...
    def undeploy(self, id: str, /) -> Any: ...
    def stream(self, after: int = 0, /) -> Iterator[tuple[str, Mapping[str, Any]]]: ...
    def close(self) -> None: ...


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
            metrics = safe_json(_or_nothing(lambda: self._client.metrics(job, points), {}))
            events = _or_nothing(lambda: self._events_of(job), [])
            log = _or_nothing(lambda: self._client.log(job), {})
            lines = log.get("lines", []) if isinstance(log, Mapping) else log
            return HistoryRead(job, JobHistory(metrics, events, safe_json(list(lines))))

        self._ask(asker, "read the job", read)

    def _events_of(self, job: str) -> list[Thing]:
        """A job's events, page by page; only the newest are kept."""
        kept: list[Thing] = []
        after = 0
        for _ in range(_MOST_PAGES):
            page = safe_json(_listed(self._client.events(job, after)))
            newest = max((int(number(event.get("seq")) or 0) for event in page), default=0)
            if newest <= after:
                break
            kept, after = [*kept, *page][-_KEPT_EVENTS:], newest
        return kept

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
        if name == "reset":
            self._read_everything()
            return
        data = safe_json(raw)
        if name == "progress":
            self._progress(str(data.get("job")), data.get("event") or {})
        elif name in _TABLES:
            self._become(self._world.changed(_TABLES[name], data))
            if name == "deployment":
                self._become(replace(self._world, endpoint=self._endpoint()))
        elif name == "status":
            self._become(replace(self._world, status=data))

    def _progress(self, job: str, event: Thing) -> None:
        with self._lock:
            self._world = self._world.told(job, event)
            listeners = list(self._listeners)
        for listener in listeners:
            listener.post_message(JobEvent(job, event))
            listener.post_message(WorldChanged(self._world))

    def _read_everything(self) -> None:
        """Read the whole world and be live."""
        client = self._client
        fresh = {
            "status": safe_json(client.status()),
            "jobs": by_id(safe_json(_listed(client.jobs(limit=200)))),
            "datasets": by_id(safe_json(_listed(client.datasets()))),
            "models": by_id(safe_json(_listed(client.models()))),
            "deployments": by_id(safe_json(_listed(client.deployments()))),
            "endpoint": self._endpoint(),
        }
        devices = safe_json(_listed(client.devices()))
        live = {id_: self._live_so_far(id_, job) for id_, job in fresh["jobs"].items() if job.get("state") == "running"}
        world = replace(self._world, **fresh, live={**self._world.live, **live}, devices=tuple(devices))
        self._become(replace(world, link=Link(LinkState.LIVE, "live"), read=True))

    def _live_so_far(self, id_: str, job: Thing) -> Live:
        """What a job that was running before the dashboard opened has said."""
        metrics = _or_nothing(lambda: self._client.metrics(id_, RECENT), {}) if job.get("kind") == "train" else {}
        pairs = zip(metrics.get("step") or (), metrics.get("loss") or (), strict=False)
        losses = [
            (float(step), float(loss)) for step, loss in pairs if number(step) is not None and number(loss) is not None
        ]
        live = self._world.live_of(id_)
        if not losses:
            return live
        progress = section(job, "progress")
        return replace(
            live,
            step=int(number(progress.get("step")) or live.step),
            steps=int(number(progress.get("steps")) or live.steps),
            loss=losses[-1][1],
            learning_rate=_last(metrics, "learning_rate"),
            tokens_per_second=_last(metrics, "tokens_per_second"),
            eta_seconds=number(progress.get("eta_seconds")),
            losses=thinned(tuple(losses)),
        )

    def _endpoint(self) -> Thing | None:
        try:
            return dict(safe_json(self._client.endpoint()))
        except NotFound:
            return None

    def _watch_devices(self) -> None:
        """Read the devices while the daemon answers; what goes wrong here is the other thread's to tell."""
        while not self._closed.wait(self._device_seconds):
            if self._world.link.state is not LinkState.LIVE:
                continue
            try:
                devices = safe_json(_listed(self._client.devices()))
                endpoint = self._endpoint()
            except Exception:  # noqa: BLE001, S112  a missed sample is nothing; a lost daemon is told by the stream
                continue
            self._become(replace(self._world.sampled(devices), endpoint=endpoint))

    def _become(self, world: World) -> None:
        with self._lock:
            self._world = world
        self._tell(WorldChanged(world))

    def _link(self, link: Link) -> None:
        self._become(replace(self._world, link=link))

    def _tell(self, message: Message) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.post_message(message)


def _listed(answer: Any) -> list[Thing]:
    """The things of an answer, whether it came bare or under ``items``."""
    return [dict(item) for item in answer] if isinstance(answer, list | tuple) else items(answer, "items")


def _last(metrics: Thing, name: str) -> float | None:
    values = metrics.get(name)
    return number(values[-1]) if isinstance(values, list) and values else None


def _or_nothing(call: Callable[[], Any], nothing: Any) -> Any:
    """A job that has not started has no metrics, events or log yet."""
    try:
        return call()
    except NotFound:
        return nothing


def _lost(error: LuthierError) -> Link:
    hint = safe_text(error.hint, limit=300) if error.hint else None
    return Link(LinkState.LOST, safe_text(error.message, limit=300), hint)
