"""The feed: in order, resumed where it stopped, honest about a lost daemon, harmless to a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.message import Message
from tui_daemons import MemoryDaemon, busy_daemon, empty_daemon, job, step_event

from appliance.errors import DaemonUnreachable, IllegalTransition
from tui.feed import Feed
from tui.messages import Done, HistoryRead, JobEvent, Refused, WorldChanged
from tui.world import LinkState


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def post_message(self, message: Message, /) -> bool:
        self.heard.append(message)
        return True

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


@pytest.fixture
def opened() -> Iterator[Callable[..., tuple[Feed, Listener]]]:
    feeds: list[Feed] = []

    def open_(daemon: MemoryDaemon, **options: Any) -> tuple[Feed, Listener]:
        feed, listener = Feed(daemon, device_seconds=0.02, back_off=(0.02,), **options), Listener()
        feeds.append(feed)
        feed.listen(listener)
        feed.open()
        return feed, listener

    yield open_
    for feed in feeds:
        feed.close()


def test_the_world_is_read_whole_before_it_is_called_live(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    feed, listener = opened(busy_daemon())
    until(lambda: feed.world.link.state is LinkState.LIVE)
    first_live = next(m.world for m in listener.of(WorldChanged) if m.world.link.state is LinkState.LIVE)
    assert first_live.read
    assert len(first_live.jobs) == 35
    assert first_live.endpoint["base_url"] == "http://127.0.0.1:8777/v1"
    assert first_live.live_of("j-harb2").step == 312, "a job that ran before the dashboard opened is known too"


def test_a_workers_events_are_posted_in_their_order_and_none_is_left_out(
    opened: Callable[..., tuple[Feed, Listener]],
) -> None:
    daemon = busy_daemon()
    feed, listener = opened(daemon)
    until(lambda: feed.world.read)
    for step in range(313, 413):
        daemon.tell("progress", {"job": "j-harb2", "event": step_event(step, 600, 0.3)})
    until(lambda: len(listener.of(JobEvent)) == 100)
    assert [message.event["step"] for message in listener.of(JobEvent)] == list(range(313, 413))
    assert feed.world.live_of("j-harb2").step == 412


def test_a_quiet_stream_that_ends_is_taken_up_where_it_stopped(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = busy_daemon()
    _feed, listener = opened(daemon)
    until(lambda: daemon.resumed_at)
    daemon.tell("progress", {"job": "j-harb2", "event": step_event(313, 600, 0.3)})
    until(lambda: listener.of(JobEvent))
    daemon.end_stream()
    until(lambda: len(daemon.resumed_at) == 2)
    daemon.tell("progress", {"job": "j-harb2", "event": step_event(314, 600, 0.3)})
    until(lambda: len(listener.of(JobEvent)) == 2)
    assert daemon.resumed_at == [0, 1]
    assert all(m.world.link.state is not LinkState.LOST for m in listener.of(WorldChanged))


def test_a_lost_daemon_is_told_with_its_reason_and_found_again(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = busy_daemon()
    feed, _listener = opened(daemon)
    until(lambda: feed.world.link.state is LinkState.LIVE)
    daemon.fall("No daemon answers on /tmp/x/control.sock.")
    until(lambda: feed.world.link.state is LinkState.LOST)
    assert feed.world.link.reason == "No daemon answers on /tmp/x/control.sock."
    assert feed.world.jobs, "what was known stays on the screen"
    daemon.tables["jobs"].append(job("j-new", "ingest", "later", "queued"))
    daemon.rise()
    until(lambda: feed.world.link.state is LinkState.LIVE)
    assert "j-new" in feed.world.jobs


def test_a_reset_reads_everything_again(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = empty_daemon()
    feed, _ = opened(daemon)
    until(lambda: feed.world.read)
    daemon.tables["jobs"].append(job("j-1", "ingest", "one", "running"))
    daemon.tell("reset", {"newest": 7})
    until(lambda: "j-1" in feed.world.jobs)


def test_things_that_change_or_go_are_followed(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = busy_daemon()
    feed, _ = opened(daemon)
    until(lambda: feed.world.read)
    daemon.tell("job", job("j-harb2", "train", "harbour", "succeeded"))
    daemon.tell("model", {"id": "m-alpa1", "deleted": True})
    until(lambda: "m-alpa1" not in feed.world.models)
    assert feed.world.jobs["j-harb2"]["state"] == "succeeded"


def test_a_daemon_is_started_once_and_again_only_when_asked(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = empty_daemon()
    daemon.gone = "No daemon answers."
    starts: list[str] = []

    def start() -> None:
        starts.append("start")
        if len(starts) == 2:
            daemon.rise()

    feed, _ = opened(daemon, start=start)
    until(lambda: feed.world.link.state is LinkState.LOST)
    assert starts == ["start"]
    feed.reconnect()
    until(lambda: feed.world.link.state is LinkState.LIVE)
    assert starts == ["start", "start"]


def test_a_daemon_that_somebody_stopped_is_not_started_again_unasked(
    opened: Callable[..., tuple[Feed, Listener]],
) -> None:
    daemon = empty_daemon()
    starts: list[str] = []
    feed, listener = opened(daemon, start=lambda: starts.append("start"))
    until(lambda: feed.world.link.state is LinkState.LIVE)
    daemon.fall("No daemon answers.")
    until(lambda: sum(m.world.link.state is LinkState.LOST for m in listener.of(WorldChanged)) > 3)
    assert starts == []


def test_a_daemon_that_cannot_be_started_says_why(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = empty_daemon()
    daemon.gone = "No daemon answers."

    def start() -> None:
        raise DaemonUnreachable("The daemon ended at once with status 78: the disk is full.", hint="Free some.")

    _, listener = opened(daemon, start=start)
    until(lambda: any("disk is full" in m.world.link.reason for m in listener.of(WorldChanged)))


def test_nothing_from_the_daemon_reaches_a_screen_with_its_control_characters(
    opened: Callable[..., tuple[Feed, Listener]],
) -> None:
    daemon = empty_daemon()
    bad = "evil\x1b]52;c;aGk=\x07\x9b31m\u202e[/nope]"
    daemon.tables["jobs"] = [job("j-1", "ingest", bad, "failed", error={"message": bad, "hint": bad, bad: bad})]
    daemon.histories["j-1"] = {"events": [{"seq": 1, "type": bad, bad: bad}], "log": [bad]}
    feed, listener = opened(daemon)
    until(lambda: feed.world.read)
    feed.read_history(listener, "j-1", points=10)
    until(lambda: listener.of(HistoryRead))
    known = repr((feed.world.jobs, listener.of(HistoryRead)[0].history))
    assert "evil" in known
    assert not any(found in known for found in ("\\x1b", "\\x07", "\\x9b", "\\u202e"))


def test_what_is_asked_is_answered_or_refused_in_words(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = busy_daemon()
    feed, listener = opened(daemon)
    feed.act(listener, "j-harb2", "pause", "it pauses")
    until(lambda: listener.of(Done))
    assert daemon.asked == [("act", "j-harb2", "pause")]

    def refuse(*_: str) -> dict[str, Any]:
        raise IllegalTransition("A succeeded job cannot be paused.", hint="Run it again.")

    daemon.act = refuse  # type: ignore[method-assign]
    feed.act(listener, "j-done2", "pause", "it pauses")
    until(lambda: listener.of(Refused))
    assert listener.of(Refused)[0].message == "A succeeded job cannot be paused."


def test_an_unforeseen_failure_is_shown_and_not_fatal(opened: Callable[..., tuple[Feed, Listener]]) -> None:
    daemon = busy_daemon()
    feed, _ = opened(daemon)
    until(lambda: feed.world.link.state is LinkState.LIVE)
    daemon.tell("progress", [])  # type: ignore[arg-type]
    until(lambda: feed.world.link.state is LinkState.LOST)
    assert "AttributeError" in feed.world.link.reason
    until(lambda: feed.world.link.state is LinkState.LIVE)
