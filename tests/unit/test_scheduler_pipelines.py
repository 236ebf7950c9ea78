"""A tune as jobs: its shape, its inputs, and what is told of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from appliance.spec import parse
from appliance.states import JobState
from scheduler.pipelines import STEPS, Made, assemble, current, inputs_of, jobs_of, state_of
from scheduler.store.tables import JobRow, PipelineRow

MADE = {
    "ingest": Made({"dataset": {"path": "/d"}}, "/jobs/1"),
    "plan": Made({"plan": {"steps": 3}}, "/jobs/2"),
    "train": Made({"model": {"path": "/m", "kind": "adapter", "base": "/b"}}, "/jobs/3"),
    "evaluate": Made({"evaluation": {}}, "/jobs/4"),
    "export": Made({"merged": "/merged", "artifacts": [{"format": "gguf:f16"}], "reference": "/r"}, "/jobs/5"),
    "parity": Made({"artifacts": []}, "/jobs/6"),
}


def pipeline() -> PipelineRow:
    spec = parse({"name": "foo", "data": {"path": "/x"}, "export": {"formats": ["gguf:f16"]}}).as_dict()
    return PipelineRow(id="p-aaaaaa", name="foo", spec=spec, base="/b")


def rows(**states: str) -> dict[str, JobRow]:
    made = {row.kind: row for row in jobs_of(pipeline())}
    for kind, row in made.items():
        row.state = states.get(kind, JobState.SUCCEEDED)
    return made


def test_a_tune_is_a_chain_in_the_order_of_the_house() -> None:
    made = jobs_of(pipeline())
    assert tuple(row.kind for row in made) == STEPS
    assert made[0].depends_on == []
    assert all(later.depends_on == [earlier.id] for earlier, later in pairwise(made))
    assert {row.pipeline for row in made} == {"p-aaaaaa"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ingest", {"base": "/b"}),
        ("plan", {"dataset": "/d", "base": "/b"}),
        ("train", {"dataset": "/d", "base": "/b"}),
        ("evaluate", {"model": MADE["train"].result["model"], "dataset": "/d"}),
        ("export", {"model": MADE["train"].result["model"], "dataset": "/d"}),
    ],
)
def test_each_step_is_given_what_the_contract_says(kind: str, expected: dict[str, Any]) -> None:
    assert inputs_of(kind, "/b", MADE) == expected


def test_parity_is_given_the_whole_export_and_the_merged_tokenizer() -> None:
    given = inputs_of("parity", "/b", MADE)
    assert given["tokenizer"] == "/merged"
    assert {"merged", "artifacts", "reference"} <= set(given)


def test_the_report_is_given_every_result() -> None:
    given = inputs_of("report", "/b", MADE)
    assert {step: given[step] for step in MADE} == {step: made.result for step, made in MADE.items()}
    assert given["train_folder"] == "/jobs/3"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, "succeeded"),
        ({"report": JobState.BLOCKED}, "running"),
        ({"train": JobState.RUNNING, "evaluate": JobState.BLOCKED}, "running"),
        ({"train": JobState.PAUSED, "evaluate": JobState.BLOCKED}, "paused"),
        ({"train": JobState.FAILED, "evaluate": JobState.CANCELLED}, "failed"),
        ({"train": JobState.CANCELLED, "evaluate": JobState.CANCELLED}, "cancelled"),
    ],
)
def test_the_state_of_a_tune_follows_from_its_jobs(states: dict[str, str], expected: str) -> None:
    assert state_of(rows(**states)) == expected


def test_a_tune_tells_what_is_known_and_null_otherwise() -> None:
    made = rows(train=JobState.QUEUED)
    made["plan"].result = {"plan": {"steps": 3}}
    told = assemble(pipeline(), made)
    assert told["schema"] == "luthier.tune/1"
    assert told["plan"] == {"steps": 3}
    assert told["training"] is None
    assert told["report"] is None
    assert told["artifacts"] == []
    assert told["job"] == made["train"].id


def test_a_question_that_was_not_answered_is_told_with_the_reason() -> None:
    made = rows()
    assert assemble(pipeline(), made)["unanswered"] is None
    made["report"].result = {"question": "Who?", "answer": None, "unanswered": "The endpoint was busy."}
    told = assemble(pipeline(), made)
    assert (told["question"], told["answer"], told["unanswered"]) == ("Who?", None, "The endpoint was busy.")


def test_a_rerun_takes_the_place_of_what_it_reran() -> None:
    old, new = (JobRow(id=id_, kind="train", name="n", state="queued") for id_ in ("j-old", "j-new"))
    assert current([old, new])["train"].id == "j-new"
