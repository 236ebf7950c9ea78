"""The feed of events, the thinning of curves, and names."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.events import EventType, EventWriter
from appliance.jobdir import JobDir
from scheduler import events as feeds
from scheduler import outcomes
from scheduler.events import Feed
from scheduler.follow import Follower
from scheduler.ids import check_name, name_from, new_id
from scheduler.metrics import curves, log_tail, thin


async def take(feed: Feed, after: int, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    async for event in feed.stream(after):
        if event is not None:
            found.append((event.noun, json.loads(event.text).get("n")))
        if len(found) == count:
            break
    return found


def test_a_client_that_was_away_gets_what_it_missed_in_order() -> None:
    feed = Feed()
    start = feed.newest
    for n in range(3):
        feed.publish("job", {"n": n})
    assert asyncio.run(take(feed, start, 3)) == [("job", 0), ("job", 1), ("job", 2)]
    assert asyncio.run(take(feed, start + 2, 1)) == [("job", 2)]


@pytest.mark.parametrize("after", [0, 1, 1 << 60])
def test_a_number_that_cannot_be_continued_is_answered_with_a_reset(after: int) -> None:
    feed = Feed()
    feed.publish("job", {"n": 1})
    assert asyncio.run(take(feed, after, 1)) == [("reset", None)]


def test_after_a_reset_the_stream_goes_on_with_what_is_new() -> None:
    async def scene() -> list[tuple[str, Any]]:
        feed = Feed()
        reader = asyncio.create_task(take(feed, 0, 2))
        await asyncio.sleep(0)
        feed.publish("job", {"n": 5})
        return await reader

    assert asyncio.run(scene()) == [("reset", None), ("job", 5)]


def test_a_client_that_was_away_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed()
    start = feed.newest
    for n in range(feeds.KEPT + 1):
        feed.publish("job", {"n": n})
    assert feed.since(start) is None
    assert feed.since(start + 1) is not None


def test_large_events_are_kept_only_up_to_a_size_and_the_newest_always() -> None:
    feed = Feed()
    start = feed.newest
    for n in range(40):
        feed.publish("pipeline", {"n": n, "evaluation": "x" * (1 << 20)})
    assert feed.since(start) is None
    kept = feed.since(feed.newest - 15)
    assert kept is not None
    assert json.loads(kept[-1].text)["n"] == 39
    assert feed.since(feed.newest - 17) is None
    feed.publish("pipeline", {"n": 40, "evaluation": "x" * (2 * feeds.KEPT_BYTES)})
    assert asyncio.run(take(feed, feed.newest - 1, 1)) == [("pipeline", 40)]
    feed.publish("job", {"n": 41})
    assert asyncio.run(take(feed, feed.newest - 1, 1)) == [("job", 41)]
    assert feed.since(feed.newest - 2) is None


def test_numbers_go_on_rising_over_a_restart() -> None:
    before = Feed()
    before.publish("job", {})
    assert Feed().newest > before.newest - 2


def test_closing_ends_every_stream() -> None:
    async def scene() -> int:
        feed = Feed()
        reader = asyncio.create_task(take(feed, feed.newest, 5))
        await asyncio.sleep(0)
        feed.close()
        return len(await reader)

    assert asyncio.run(scene()) == 0


def test_a_quiet_stream_says_that_it_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "QUIET", 0.01)

    async def first() -> object:
        feed = Feed()
        async for event in feed.stream(feed.newest):
            return event
        return "ended"

    assert asyncio.run(first()) is None


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=300), st.integers(2, 50))
def test_thinning_keeps_the_ends_and_every_extreme(values: list[float | None], points: int) -> None:
    kept = thin(values, points)
    assert kept == sorted(set(kept))
    assert len(kept) <= points + 4
    known = [value for value in values if value is not None]
    if known:
        shown = [values[index] for index in kept if values[index] is not None]
        assert min(shown) == min(known)
        assert max(shown) == max(known)
        assert {kept[0], kept[-1]} == {0, len(values) - 1}


def test_a_step_done_again_after_a_restart_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for attempt, steps in ((1, (1, 2, 3)), (2, (2, 3, 4))):
        writer = EventWriter(path, attempt=attempt)
        for step in steps:
            writer.emit(EventType.STEP, step=step, loss=attempt * 10 + step, learning_rate=0.1, tokens_per_second=1)
        writer.emit(EventType.EVALUATED, step=4, loss=attempt)
        writer.close()
    found = curves(path, 100)
    assert found["step"] == [1, 2, 3, 4]
    assert found["loss"] == [11, 22, 23, 24]
    assert found["validation"] == [[4, 2]]


def test_a_follower_passes_on_the_newest_step_of_each_look_and_everything_rare(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    heard: list[tuple[str, int]] = []
    follower = Follower(lambda job, event: heard.append((event["type"], event["seq"])))
    follower.follow("j-a", path, 2)
    writer = EventWriter(path, attempt=2)
    writer.emit(EventType.PHASE, name="training")
    for step in range(1, 4):
        writer.emit(EventType.STEP, step=step, steps=9, eta_seconds=1.0, loss=1.0)
    writer.emit(EventType.SAVED, step=3, path="x")
    follower.look()
    assert heard == [("phase", 1), ("step", 4), ("saved", 5)]
    tail = follower.of("j-a")
    assert tail is not None
    assert tail.phase == "training"
    assert tail.progress is not None
    assert (tail.progress["step"], tail.progress["steps"]) == (3, 9)


def test_a_follower_leaves_a_line_alone_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    heard: list[int] = []
    follower = Follower(lambda job, event: heard.append(event["seq"]))
    follower.follow("j-a", path, 1)
    line = b'{"v":1,"seq":1,"attempt":1,"type":"phase","name":"x"}\n'
    path.write_bytes(line[:20])
    follower.look()
    assert heard == []
    path.write_bytes(line)
    follower.look()
    assert heard == [1]


def two_attempts(folder: Path) -> JobDir:
    """A job's events: more than one look takes of the first attempt, and then 100 of the second."""
    for attempt, steps in ((1, 8000), (2, 100)):
        lines = (
            {"v": 1, "seq": (attempt - 1) * 8000 + step, "attempt": attempt, "type": "step", "step": step, "steps": 9}
            | {"loss": 1.0, "tokens_per_second": 1.0, "eta_seconds": 1.0, "note": "x" * 100}
            for step in range(1, steps + 1)
        )
        with (folder / "events.jsonl").open("a") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)
    return JobDir(folder)


def test_the_last_words_of_an_attempt_are_heard_behind_any_amount_of_earlier_ones(tmp_path: Path) -> None:
    job = two_attempts(tmp_path)
    assert job.events.stat().st_size > 1 << 20
    progress = outcomes.last_words(job, 2).progress
    assert progress is not None
    assert progress["step"] == 100
    heard: list[int] = []
    follower = Follower(lambda _, event: heard.append(event["seq"]))
    follower.follow("j-a", job.events, 2)
    tail = follower.leave("j-a")
    assert tail is not None
    assert tail.progress == progress
    assert heard[-1] == 8100


def test_a_line_that_never_seems_to_end_does_not_hide_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    event = b'{"v":1,"seq":1,"attempt":1,"type":"phase","name":"x"}\n'
    path.write_bytes(b"x" * (3 << 20) + b"\n" + event)
    assert outcomes.last_words(JobDir(tmp_path), 1).phase == "x"


def test_the_end_of_a_log_is_text_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"one\n\xff\xfe two\nthree\n")
    assert log_tail(path, 2) == ["\ufffd\ufffd two", "three"]
    assert log_tail(path, 0) == []
    assert log_tail(tmp_path / "none", 5) == []


@given(st.text(max_size=80))
def test_a_name_made_from_any_text_is_a_name(text: str) -> None:
    assert check_name(name_from(text), "tune")


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "x" * 65, "é", "a\n"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name, "tune")


def test_ids_look_alike_and_differ() -> None:
    made = {new_id("j") for _ in range(200)}
    assert len(made) == 200
    assert all(len(id_) == 8 and id_.startswith("j-") for id_ in made)
