# ruff: noqa: E501  tables of cases read better a case a line
"""The dashboard's plain parts: keys, commands, groups, series and words."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from rich.cells import cell_len
from tui_daemons import NOW, busy_daemon, job, pipeline, step_event, training_history

from appliance.states import JobState
from tui.commands import COMMANDS, matches, parse_command
from tui.groups import attention, find_job, group_of, groups_of, progress_of
from tui.keys import ACTIONS, EVERYWHERE, FORBIDDEN, LISTS, MAIN_ROOMS, PANELS, actions_of
from tui.screens import SCREENS
from tui.screens.help import help_text
from tui.series import JobSeries
from tui.show.data import FATES, ledger, ledger_bar
from tui.show.events import event_line
from tui.show.words import STATES, bar, course, eta, one_line, sparkline
from tui.widgets.frame import keys_line
from tui.world import RECENT, Live, World, by_id, safe_json

REPOSITORY = Path(__file__).parents[2]


def world_of(jobs: list[dict[str, object]]) -> World:
    return World(jobs=by_id(jobs), read=True)


def test_no_key_is_one_that_terminals_cannot_deliver() -> None:
    bound = {key for action in ACTIONS for key in action.keys.split(",")}
    assert bound & FORBIDDEN == set()


@pytest.mark.parametrize("room", [*MAIN_ROOMS, "job"])
def test_no_key_means_two_things_in_one_room(room: str) -> None:
    for inner in (LISTS, PANELS):
        keys = [key for name in (room, EVERYWHERE) for action in actions_of(name) for key in action.keys.split(",")]
        if room != "job" or inner is PANELS:
            keys += [key for action in actions_of(inner) for key in action.keys.split(",")]
        assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("room", [*MAIN_ROOMS, "job"])
def test_help_names_every_key_that_works_in_the_room(room: str) -> None:
    page = help_text(room, 70).plain
    for action in (*actions_of(room), *actions_of(EVERYWHERE), *actions_of(LISTS)):
        assert action.shown in page
    assert all(f":{name}" in page for name in COMMANDS)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_key_bar_never_overflows_and_always_names_help_and_back(width: int) -> None:
    line = keys_line([action for action in ACTIONS if action.footer], width).plain
    assert cell_len(line) <= width
    assert "? help" in line
    assert "q back" in line


def test_every_screen_of_the_table_exists() -> None:
    for name in SCREENS:
        module, _, attribute = SCREENS[name].target.partition(":")
        tree = ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert attribute in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(MAIN_ROOMS) <= set(SCREENS)


def test_importing_the_dashboard_loads_nothing_heavy() -> None:
    modules = [entry.target.partition(":")[0] for entry in SCREENS.values()]
    code = f"""
import importlib, sys
for name in {["tui.app", "tui.__main__", "appliance.client", *modules]!r}:
    importlib.import_module(name)
heavy = {{"torch", "transformers", "numpy", "pyarrow", "sqlalchemy", "sqlmodel", "fastapi", "datasets", "llama_cpp"}}
ours = {{"scheduler", "serving", "profiles", "installer"}}
print(sorted((heavy | ours) & {{name.split(".")[0] for name in sys.modules}}))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_off_a_terminal_the_dashboard_refuses_in_words_and_does_not_import_textual() -> None:
    code = "import sys, tui.__main__ as m; status = m.main([]); print(status, 'textual' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert result.stdout.strip() == "2 False"
    assert "luthier status" in result.stderr


@pytest.mark.parametrize(
    ("typed", "name", "argument"),
    [("jobs", "jobs", ""), (":job harbour", "job", "harbour"), ("gpus", "devices", ""), ("jobs state:failed", "jobs", "state:failed")],
)  # fmt: skip
def test_a_command_is_understood(typed: str, name: str, argument: str) -> None:
    command = parse_command(typed)
    assert (command.name, command.argument, command.fault) == (name, argument, "")


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    assert parse_command("modles").fault == "No command is named 'modles'. Did you mean :models?"
    assert parse_command("why").fault == ":why needs a name after it."


@pytest.mark.parametrize(
    ("query", "passes"),
    [("", True), ("harb train", True), ("tickets", False), ("!tickets", True), ("!harb", False), ("state:run", True), ("state:failed", False)],
)  # fmt: skip
def test_a_filter_lets_through_what_it_says(query: str, passes: bool) -> None:
    assert matches("harbour train running", query, state="running") is passes


def test_every_state_has_its_own_glyph_one_cell_wide() -> None:
    assert set(STATES) == {str(state) for state in JobState}
    glyphs = [glyph for glyph, _ in STATES.values()]
    assert len(set(glyphs)) == len(glyphs)
    assert {cell_len(glyph) for glyph in glyphs} == {1}


def test_a_tune_is_shown_by_the_job_that_matters() -> None:
    groups = {group.name: group for group in groups_of(world_of(busy_daemon().tables["jobs"]))}
    assert (groups["harbour"].state, groups["harbour"].current["kind"]) == ("running", "train")
    assert (groups["tickets"].state, groups["tickets"].current["kind"]) == ("failed", "plan")
    assert (groups["invoices"].state, groups["invoices"].current["kind"]) == ("queued", "plan")
    assert groups["harbour"].plan["method"] == "lora"


def test_a_job_that_was_run_again_makes_way_for_the_new_one() -> None:
    jobs = pipeline("x", "again", "sf", began=5)
    jobs.append(job("j-x9", "plan", "again", "running", pipeline="p-x", rerun_of="j-x1"))
    group = group_of(world_of(jobs), jobs[0])
    assert [member["id"] for member in group.jobs] == ["j-x0", "j-x9"]
    assert group.state == "running"


def test_a_later_success_makes_up_for_a_failure() -> None:
    failed = pipeline("a", "faq", "sf", began=60)
    assert [row[1].name for row in attention(world_of(failed))] == ["faq"]
    assert attention(world_of([*failed, *pipeline("b", "faq", "ss", began=10)])) == []


def test_a_refusal_of_the_gate_wants_attention_with_its_reason() -> None:
    found = {row[1].name: row for row in attention(world_of(busy_daemon().tables["jobs"]))}
    assert found["alpaca-tiny"][2] == "the gate said no"
    assert "0.112 is not proven better" in found["alpaca-tiny"][3]


def test_a_job_is_found_by_id_beginning_or_name() -> None:
    world = world_of(busy_daemon().tables["jobs"])
    assert find_job(world, "j-harb2")["kind"] == "train"  # type: ignore[index]
    assert find_job(world, "harbour")["id"] == "j-harb2"  # type: ignore[index]
    assert find_job(world, "j-tick1")["state"] == "failed"  # type: ignore[index]
    assert find_job(world, "nothing") is None


def test_progress_prefers_what_the_worker_said_last() -> None:
    known = job("j", "train", "n", "running", progress={"step": 3, "steps": 10, "eta_seconds": 70})
    assert progress_of(known, Live()).share == pytest.approx(0.3)
    live = Live().after(step_event(5, 10, 1.0))
    assert progress_of(known, live).share == pytest.approx(0.5)


def test_a_resumed_job_draws_its_redone_steps_once() -> None:
    series = JobSeries()
    history = training_history(100, 200)
    series.read(history["metrics"], history["events"])
    series.add(step_event(81, 200, 9.0) | {"seq": 2001})
    curve = series.loss(200, log=False)
    steps = [step for step, _ in curve.points]
    assert steps == sorted(set(steps))
    assert curve.points[-1] == (81.0, 9.0)


def test_events_that_came_while_the_past_was_read_are_not_lost() -> None:
    series = JobSeries()
    series.add(step_event(101, 200, 0.5))
    history = training_history(100, 200)
    series.read(history["metrics"], history["events"])
    assert series.loss(200, log=False).points[-1] == (101.0, 0.5)
    assert series.events[-1]["step"] == 101


@pytest.mark.parametrize("width", [10, 40, 76])
def test_the_ledger_bar_is_as_wide_as_asked_and_shows_every_fate(width: int) -> None:
    rows = {fate: 1 for fate, *_ in FATES} | {"kept": 10_000, "total": 10_007}
    assert len(ledger_bar(rows, width).plain) == width
    shown = ledger(rows, width).plain
    assert all(words in shown for *_, words in FATES)


def test_names_in_wide_characters_are_cut_by_cells_not_by_letters() -> None:
    assert cell_len(one_line("調律師" * 20, 15)) <= 15
    assert one_line("a\n\tb  c") == "a b c"


def test_the_time_it_will_be_over_is_a_clock_time_and_a_duration() -> None:
    assert eta(780, NOW) == "18:55 (in 13m 00s)"
    assert eta(86_400, NOW).startswith((NOW + timedelta(days=1)).strftime("%a"))
    assert eta(None, NOW) == "–"


@pytest.mark.parametrize("share", [None, -1.0, 0.0, 0.33, 1.0, 7.0])
def test_a_bar_keeps_its_width(share: float | None) -> None:
    assert cell_len(bar(share, 20).plain) == 20


def test_a_sparkline_shows_the_whole_course_in_the_room_there_is() -> None:
    line = sparkline([float(10_000 - step) for step in range(10_000)], 30)
    assert len(line) == 30
    assert (line[0], line[-1]) == ("█", "▁")
    assert sparkline([], 10) == ""
    assert sparkline([1.0, 1.0], 10) == "▁▁"


def test_the_course_of_a_long_run_is_thinned_and_keeps_its_shape() -> None:
    live = Live()
    for step in range(1, 5001):
        live = live.after(step_event(step, 5000, 5000.0 - step))
    assert len(live.losses) <= 2 * RECENT
    assert live.losses[0] == (1, 4999.0)
    assert live.losses[-1] == (5000, 0.0)
    values = course(live.losses, 20)
    assert len(values) == 20
    falls = [before - after for before, after in pairwise(values)]
    assert min(falls) > 150, "a straight fall stays straight"
    assert max(falls) < 350


def test_strings_that_are_not_ours_lose_their_control_characters_even_as_keys() -> None:
    cleaned = safe_json({"a\x1b[2J": ["\x9b1m", {"x": "line\nline"}], "n": 1.5, "none": None})
    assert cleaned == {"a\ufffd[2J": ["\ufffd1m", {"x": "line\nline"}], "n": 1.5, "none": None}


@pytest.mark.parametrize(
    "event", [{}, {"type": "step"}, {"type": "step", "loss": "x", "step": None}, {"type": "new-kind", "a": 1}]
)
def test_a_strange_event_is_still_a_line(event: dict[str, object]) -> None:
    assert event_line(event).plain


def test_titles_of_boxes_are_set_in_one_place_because_textual_reads_strings_there_as_markup() -> None:
    setters = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "tui").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and target.attr in ("border_title", "border_subtitle")
    }
    assert setters == {"tui/widgets/title.py"}


def test_every_static_text_refuses_markup() -> None:
    """A ``Static`` given a plain string would read ``[…]`` in it as markup; ours never do."""
    loose = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path in (REPOSITORY / "tui").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("Static", "TopBar", "Banner", "KeyBar", "Ticker", "self.notify")
        and not any(keyword.arg == "markup" for keyword in node.keywords)
    ]
    assert loose == []
