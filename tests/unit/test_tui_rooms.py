"""The rooms as a person meets them: every one opens, keys do what they say, nothing hostile gets through."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tui_daemons import MemoryDaemon, busy_daemon, empty_daemon, job, step_event
from tui_pilot import SIZES, dashboard, screen, shows, told, type_, until

from tui.screens.job import JobScreen
from tui.theme import THEMES
from tui.widgets.chart import BrailleChart

pytestmark = pytest.mark.asyncio
ROOMS = ("home", "jobs", "data", "models", "chat", "devices")


def gone_daemon() -> MemoryDaemon:
    daemon = empty_daemon()
    daemon.gone = "No daemon answers on /run/luthier/control.sock."
    return daemon


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (busy_daemon, ("harbour", "Jobs", "alpaca_en_demo", "alpaca-tiny", "http://127.0.0.1:8777/v1", "RTX 4090")),
        (empty_daemon, ("quickstart", "quickstart", "data check", "luthier tune", "nobody to talk to", "EPYC")),
        (gone_daemon, ("next try in",) * 6),
    ],
)
async def test_every_room_opens_on_every_daemon_at_both_sizes(
    size: tuple[int, int], make: Callable[[], MemoryDaemon], words: tuple[str, ...]
) -> None:
    async with dashboard(make(), size) as pilot:
        for digit, expected in enumerate(words, 1):
            pilot.app.action_room(ROOMS[digit - 1])  # type: ignore[attr-defined]
            await shows(pilot, expected)
            lines = screen(pilot).split("\n")
            assert len(lines) == size[1]
            assert "luthier" in lines[0]
            assert "? help" in lines[-1]


@pytest.mark.parametrize("size", [(50, 24), (80, 12), (20, 5), (59, 15)])
async def test_a_tiny_terminal_gets_one_line_and_no_crash(size: tuple[int, int]) -> None:
    async with dashboard(busy_daemon(), size) as pilot:
        await shows(pilot, "▶ harbour")
        lines = [line for line in screen(pilot).split("\n") if line.strip()]
        assert len(lines) == 1
        assert size[0] < 40 or "52 %" in lines[0]


async def test_growing_and_shrinking_the_terminal_keeps_the_room() -> None:
    async with dashboard(busy_daemon(), (120, 40)) as pilot:
        for size in ((30, 8), (80, 24), (300, 100), (60, 16)):
            await pilot.resize_terminal(*size)
            await shows(pilot, "harbour")


async def test_digits_letters_and_back_go_where_they_say() -> None:
    async with dashboard(busy_daemon()) as pilot:
        for key, mode in (
            ("2", "jobs"),
            ("3", "data"),
            ("4", "models"),
            ("6", "devices"),
            ("1", "home"),
            ("c", "chat"),
        ):
            await pilot.press(key)
            assert pilot.app.current_mode == mode
        await pilot.press("escape", "escape")
        assert pilot.app.current_mode == "home"
        await pilot.press("2", "q")
        assert pilot.app.current_mode == "home"
        await pilot.press("q")
        assert pilot.app.return_value == "1 job goes on; `luthier status` shows what the daemon does."


async def test_a_running_job_opens_with_its_live_chart_and_grows() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon, (120, 40)) as pilot:
        await pilot.press("enter")
        await shows(pilot, "validation 0.395")
        assert isinstance(pilot.app.screen, JobScreen)
        await shows(pilot, "52 %  step 312/600  ETA 18:42 (in 40s)")
        before = pilot.app.screen.query_one("#loss", BrailleChart).curve
        daemon.tell("progress", {"job": "j-harb2", "event": step_event(330, 600, 0.301)})
        await shows(pilot, "step 330")
        await shows(pilot, "loss 0.301")
        after = pilot.app.screen.query_one("#loss", BrailleChart).curve
        assert len(after.points) == len(before.points) + 1
        await shows(pilot, "step 330/600")


async def test_the_tabs_of_a_job_show_plan_result_and_log() -> None:
    async with dashboard(busy_daemon(), (120, 40)) as pilot:
        await pilot.press("enter")
        await pilot.press("right_square_bracket")
        await shows(pilot, "because low-rank updates bear ten times the rate")
        await pilot.press("tab")
        await shows(pilot, "No result yet.")
        await pilot.press("l")
        await shows(pilot, "loading appliance/starter/model")
        await pilot.press("left_square_bracket", "h", "h")
        await shows(pilot, "Events")


async def test_the_stages_of_a_tune_are_walked_along() -> None:
    async with dashboard(busy_daemon(), (120, 40)) as pilot:
        await type_(pilot, ":job j-done2")
        await pilot.press("enter")
        await shows(pilot, "harbour-v1 › train")
        await pilot.press("greater_than_sign")
        await shows(pilot, "harbour-v1 › evaluate")
        await pilot.press("tab", "tab")
        await shows(pilot, "the gate said yes")


async def test_why_shows_the_error_with_its_hint_and_fixes() -> None:
    async with dashboard(busy_daemon()) as pilot:
        await type_(pilot, ":why tickets")
        await pilot.press("enter")
        await shows(pilot, "Why it failed")
        for words in ("needs 21.3 GB", "Take a smaller base", "sequence length 2048 → 512", "does-not-fit"):
            assert words in screen(pilot)


async def test_a_filter_narrows_the_list_as_it_is_typed_and_comes_off() -> None:
    async with dashboard(busy_daemon(), (120, 40)) as pilot:
        await pilot.press("2")
        await type_(pilot, "/state:failed")
        await shows(pilot, "Jobs  / state:failed")
        await until(pilot, lambda: "tickets" in screen(pilot) and "harbour" not in screen(pilot))
        await pilot.press("enter")
        assert "state:failed" in screen(pilot)
        await pilot.press("slash", "escape")
        await shows(pilot, "harbour")


async def test_a_wrong_command_is_answered_and_a_right_one_followed() -> None:
    async with dashboard(busy_daemon()) as pilot:
        await type_(pilot, ":modles")
        await pilot.press("enter")
        await told(pilot, "Did you mean :models?")
        await type_(pilot, ":devices")
        await pilot.press("enter")
        await shows(pilot, "RTX 4090")
        assert pilot.app.current_mode == "devices"


async def test_the_cursor_stays_on_its_job_while_others_come() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon, (120, 40)) as pilot:
        await pilot.press("2", "j", "j", "j")
        listing = pilot.app.screen.query_one("#all")
        chosen = listing.selected  # type: ignore[attr-defined]
        newest = job("j-zzz", "ingest", "newest", "queued", created_at="2026-11-23T18:42:06.000Z")
        daemon.tell("job", newest)
        await shows(pilot, "newest")
        assert listing.selected == chosen  # type: ignore[attr-defined]
        await pilot.press("k")
        assert listing.selected != chosen  # type: ignore[attr-defined]


async def test_pause_asks_the_daemon_and_says_so() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon) as pilot:
        await pilot.press("p")
        await told(pilot, "train of harbour pauses at its next checkpoint")
        assert daemon.asked == [("act", "j-harb2", "pause")]
        daemon.tell("job", job("j-harb2", "train", "harbour", "paused", pipeline="p-harb"))
        await type_(pilot, ":job j-harb2")
        await pilot.press("enter")
        await shows(pilot, "‖ paused")
        await pilot.press("p")
        await until(pilot, lambda: ("act", "j-harb2", "resume") in daemon.asked)


async def test_cancel_asks_first_and_no_is_no() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon) as pilot:
        await pilot.press("x")
        await shows(pilot, "Cancel train of harbour?")
        await pilot.press("escape")
        await pilot.press("x", "enter")
        assert daemon.asked == []
        await pilot.press("x", "y")
        await until(pilot, lambda: daemon.asked == [("act", "j-harb2", "cancel")])


async def test_a_key_that_cannot_help_says_why() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon) as pilot:
        await type_(pilot, ":job j-done2")
        await pilot.press("enter", "p")
        await told(pilot, "cannot be paused: it is succeeded; r runs it again")
        await pilot.press("r")
        await until(pilot, lambda: daemon.asked == [("act", "j-done2", "rerun")])


async def test_a_model_is_served_and_stopped_with_one_key() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon) as pilot:
        await pilot.press("4")
        await shows(pilot, "candidate")
        await pilot.press("s")
        await until(pilot, lambda: daemon.asked == [("deploy", "m-alpa1")])
        await pilot.press("j", "s")
        await shows(pilot, "Stop serving harbour-v1?")
        await pilot.press("y")
        await until(pilot, lambda: ("undeploy", "e-1") in daemon.asked)


async def test_help_is_for_the_room_one_is_in() -> None:
    async with dashboard(busy_daemon(), (120, 40)) as pilot:
        await pilot.press("4", "question_mark")
        await shows(pilot, "On this screen: Models")
        await shows(pilot, "Serve the selected model")
        await pilot.press("q")
        assert pilot.app.current_mode == "models"


async def test_a_lost_daemon_raises_a_banner_and_R_tries_at_once() -> None:
    daemon = busy_daemon()
    async with dashboard(daemon) as pilot:
        daemon.fall("No daemon answers on /run/luthier/control.sock.")
        await shows(pilot, "No daemon answers on /run/luthier/control.sock.")
        await shows(pilot, "what you see is old")
        assert "harbour" in screen(pilot)
        daemon.rise()
        await pilot.press("R")
        await until(pilot, lambda: "● live" in screen(pilot))


async def test_a_daemon_that_hangs_never_blocks_the_keys() -> None:
    daemon = busy_daemon()
    released = threading.Event()
    metrics = daemon.metrics

    def hang(name: str, points: int = 200, /) -> dict[str, Any]:
        released.wait(30)
        return metrics(name, points)

    async with dashboard(daemon) as pilot:
        daemon.metrics = hang  # type: ignore[method-assign]
        await pilot.press("enter")
        await shows(pilot, "no step has been made yet")
        await pilot.press("q", "3")
        await shows(pilot, "alpaca_en_demo")
        await pilot.press("1", "enter")
        released.set()
        await shows(pilot, "validation 0.395")


HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J\x9b31m\u202e[/nope][@click=app.quit]x[/]\r\n\t調\U0001f3bb"


def poisoned(value: Any, key: str = "") -> Any:
    """Every string that is not a key of our own with something nasty before it."""
    if isinstance(value, dict):
        return {inner: poisoned(item, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    ours = {"id", "state", "kind", "pipeline", "created_at", "started_at", "ended_at", "at", "type", "stage", "uuid"}
    return HOSTILE + value if isinstance(value, str) and key not in ours else value


@pytest.mark.parametrize("size", [*SIZES, (40, 10)])
async def test_hostile_strings_neither_crash_nor_leak_in_any_room(size: tuple[int, int]) -> None:
    daemon = busy_daemon()
    daemon.tables = poisoned(daemon.tables)
    daemon.histories = poisoned(daemon.histories)
    daemon.serving = poisoned(daemon.serving)
    async with dashboard(daemon, size) as pilot:
        texts = []
        for room in ROOMS:
            pilot.app.action_room(room)  # type: ignore[attr-defined]
            await pilot.pause(0.1)
            texts.append(screen(pilot))
        for id_ in ("j-harb2", "j-tick1", "j-done3", "j-done5"):
            pilot.app.open_job(id_)  # type: ignore[attr-defined]
            for _ in range(4):
                await pilot.press("tab")
                await pilot.pause()
                texts.append(screen(pilot))
        daemon.tell("progress", {"job": "j-done5", "event": {"type": "warned", "seq": 9999, "message": HOSTILE}})
        await pilot.pause(0.1)
        texts.append(screen(pilot))
    for text in texts:
        bad = {
            character
            for character in text
            if (ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160
        }
        assert bad == set()
        assert "\u202e" not in text


async def test_a_toast_shows_markup_as_it_is() -> None:
    async with dashboard(busy_daemon()) as pilot:
        await type_(pilot, ":why ")
        for character in "[/nope]":
            await pilot.press(
                {"[": "left_square_bracket", "]": "right_square_bracket", "/": "slash"}.get(character, character)
            )
        await pilot.press("enter")
        await shows(pilot, "No job is named '[/nope]'")


@pytest.mark.parametrize("theme", ["luthier", "luthier-light", "ansi-dark", "nord", "ansi-light"])
async def test_every_theme_can_be_worn(theme: str) -> None:
    async with dashboard(busy_daemon()) as pilot:
        await type_(pilot, f":theme {theme}")
        await pilot.press("enter")
        assert pilot.app.theme == theme
        await shows(pilot, "harbour")


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
async def test_the_colours_of_our_themes_can_be_read(theme: Any) -> None:
    """Contrast of at least 4.5 to 1 for text, 3 to 1 for what is only a frame or beside it (WCAG 2.2, 1.4.3)."""

    def luminance(code: str) -> float:
        parts = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        light, dark = sorted((luminance(one), luminance(other)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    words = [theme.primary, theme.accent, theme.success, theme.warning, theme.error, theme.foreground]
    assert all(contrast(colour, theme.background) >= 4.5 for colour in [*words, theme.variables["quiet"]])
