"""What a person is told while work goes on, and what a request becomes."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from appliance import spec as specs
from appliance.cli.follow import outcome
from appliance.cli.logs import unseen
from appliance.cli.progress import Progress
from appliance.cli.request import spec_from
from appliance.errors import FileNotFound, InvalidSpec, OutOfMemory


def job(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "j-1", "kind": "train", "state": state, "attempts": 1, "started_at": None, **more}


def step(number: int, loss: float) -> dict[str, Any]:
    event = {"seq": number, "type": "step", "step": number, "steps": 100, "loss": loss}
    return event | {"tokens_per_second": 1900.0, "eta_seconds": 75.0}


def told(progress: Progress, *, starts: bool = False) -> list[str]:
    return [line.plain for line in progress.news(starts=starts)]


def test_the_live_line_shows_step_loss_curve_rate_and_time_left_in_80_columns() -> None:
    progress = Progress()
    progress.take([job("running")])
    for number in range(1, 41):
        assert list(progress.take_event("j-1", step(number, 4.0 / number))) == []
    line = progress.live(80).plain
    assert "40/100" in line
    assert "loss 0.100 █" in line
    assert "1.9k tok/s" in line
    assert "1m 15s left" in line
    assert len(line) <= 80


def test_an_event_seen_again_after_a_restart_changes_nothing() -> None:
    progress = Progress()
    progress.take([job("running")])
    for number in (1, 2, 2, 1):
        list(progress.take_event("j-1", step(number, 1.0)))
    assert len(progress.losses["j-1"]) == 2


def test_each_end_is_told_once_with_what_it_came_to() -> None:
    progress = Progress()
    result = {"training": {"steps": 100, "first_loss": 3.0, "final_loss": 0.5, "tokens_per_second": 1900}}
    times = {"started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:05Z"}
    progress.take([job("running")])
    assert told(progress) == []
    progress.take([job("succeeded", result=result, **times)])
    assert told(progress) == ["✔ train     100 steps, loss 3 → 0.5, 1.9k tok/s  1m 05s"]
    assert told(progress) == []


def test_without_a_terminal_each_phase_has_a_line_when_it_begins_and_when_it_ends() -> None:
    progress = Progress()
    progress.take([job("running")])
    assert told(progress, starts=True) == ["· train"]
    progress.take([job("failed", error={"code": "diverged", "message": "The loss is not a number."})])
    assert told(progress, starts=True) == ["✖ train     The loss is not a number."]


def test_a_second_attempt_and_a_warning_are_told() -> None:
    progress = Progress()
    progress.take([job("running", attempts=2)])
    assert told(progress) == ["▲ train: attempt 2, from what was saved"]
    (line,) = progress.take_event("j-1", {"seq": 1, "type": "warned", "message": "3 rows were dropped"})
    assert line.plain == "▲ 3 rows were dropped"


def test_events_of_other_jobs_are_not_shown() -> None:
    progress = Progress()
    progress.take([job("running")])
    assert list(progress.take_event("j-2", {"seq": 1, "type": "warned", "message": "not mine"})) == []


def test_a_tune_that_failed_ends_with_the_error_of_the_job_that_failed_first() -> None:
    failed = {"code": "out-of-memory", "message": "None left.", "hint": "Use less."}
    tune = {"state": "failed", "jobs": [{"error": failed}, {"error": {"code": "dependency-failed", "message": "x"}}]}
    error = outcome(tune)
    assert isinstance(error, OutOfMemory)
    assert error.hint == "Use less."
    assert outcome({"state": "succeeded"}) is None
    cancelled = outcome({"state": "cancelled", "name": "faq", "jobs": []})
    assert cancelled is not None
    assert (cancelled.exit_status, cancelled.message) == (1, "faq was cancelled.")


@pytest.mark.parametrize("window", [1, 2, 3, 5, 100])
def test_a_followed_log_prints_every_line_once_whatever_the_window(window: int) -> None:
    lines = [f"line {number}" for number in range(23)]
    printed: list[str] = []
    shown: list[str] = []
    for end in range(1, len(lines) + 1):
        now = lines[max(0, end - window) : end]
        printed += unseen(shown, now)
        shown = now
    assert printed == lines


def options(target: str, **given: Any) -> Namespace:
    empty: dict[str, Any] = {"base": None, "method": None, "goal": None, "name": None, "map": [], "set": []}
    return Namespace(target=target, **(empty | given))


def test_a_file_is_sent_absolute_and_values_are_read_as_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chats.jsonl").touch()
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    wanted = ["training.rank=8", "training.learning_rate=3e-4", "serve.enabled=false", "data.over_length=split"]
    wanted += ['export.formats=["gguf:f16"]']
    body = spec_from(options("chats.jsonl", base="base", map=["prompt=question"], set=wanted))
    spec = specs.parse(body)
    assert spec.data.path == str(tmp_path / "chats.jsonl")
    assert spec.base.model == str(tmp_path / "base")
    assert (spec.training.rank, spec.training.learning_rate, spec.serve.enabled) == (8, 3e-4, False)
    assert (spec.data.over_length, spec.export.formats) == ("split", ("gguf:f16",))
    assert spec.data.mapping == {"prompt": "question"}


def test_a_recipe_gives_way_to_options_and_its_paths_are_its_own(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "faq"\n[data]\npath = "chats.jsonl"\n[training]\nrank = 4\nsteps = 10\n')
    spec = specs.parse(spec_from(options(str(recipe), name="other", set=["training.rank=8"])))
    assert (spec.name, spec.training.rank, spec.training.steps) == ("other", 8, 10)
    assert spec.data.path == str(tmp_path / "chats.jsonl")


def test_a_bare_word_is_the_name_of_a_dataset() -> None:
    assert spec_from(options("support-faq"))["data"] == {"dataset": "support-faq"}


def test_every_fault_of_a_request_is_named_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        spec_from(options("support-faq", set=["training.rank=0", "trainign.steps=3", "serve.enabled=7"]))
    assert all(key in caught.value.message for key in ("training.rank", "trainign", "serve.enabled"))


@pytest.mark.parametrize("base", ["./nowhere", "/nowhere", "~/nowhere-at-all"])
def test_a_base_that_looks_like_a_path_and_is_not_there_is_refused_at_once(base: str) -> None:
    with pytest.raises(FileNotFound):
        spec_from(options("support-faq", base=base))
