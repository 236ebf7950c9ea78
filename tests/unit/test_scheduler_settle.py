"""What an ended attempt means: every row of the contract's table."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.states import JobState
from scheduler.settle import MOST_FRUITLESS, Ended, judge

KILLED = {"code": None, "signal": 9}
OK = {"ok": True, "result": {"made": 1}}


def failed(code: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": "so it was"}}


def test_a_result_that_is_ok_succeeds_whatever_was_wished_meanwhile() -> None:
    verdict = judge(Ended(kind="train", result=OK, exit=None, cancel_requested=True))
    assert (verdict.state, verdict.result, verdict.outcome) == (JobState.SUCCEEDED, {"made": 1}, "ok")


def test_a_named_failure_fails_with_that_error() -> None:
    verdict = judge(Ended(kind="train", result=failed("diverged"), exit={"code": 1, "signal": None}))
    assert verdict.state is JobState.FAILED
    assert verdict.error == {"code": "diverged", "message": "so it was"}


@pytest.mark.parametrize("result", [None, failed("interrupted")])
def test_the_wish_decides_what_becomes_of_an_interrupted_attempt(result: dict[str, Any] | None) -> None:
    cancelled = judge(Ended(kind="train", result=result, exit=KILLED, cancel_requested=True, pause_requested=True))
    paused = judge(Ended(kind="train", result=result, exit=KILLED, pause_requested=True))
    again = judge(Ended(kind="train", result=result, exit=KILLED))
    assert [cancelled.state, paused.state, again.state] == [JobState.CANCELLED, JobState.PAUSED, JobState.QUEUED]


def test_a_worker_that_dies_without_getting_further_is_given_up_after_three_attempts() -> None:
    fruitless, states = 0, []
    for _ in range(MOST_FRUITLESS):
        verdict = judge(Ended(kind="train", result=None, exit=KILLED, fruitless=fruitless))
        fruitless = verdict.fruitless
        states.append(verdict.state)
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert verdict.error is not None
    assert verdict.error["code"] == "worker-died"
    assert "SIGKILL" in verdict.error["message"]
    assert "oom" in verdict.error["hint"]


def test_a_new_checkpoint_begins_the_count_anew() -> None:
    verdict = judge(Ended(kind="train", result=None, exit=KILLED, fruitless=2, progressed=True))
    assert (verdict.state, verdict.fruitless) == (JobState.QUEUED, 1)


def test_a_worker_that_had_no_room_for_its_result_fails_for_the_disk_and_is_not_tried_again() -> None:
    verdict = judge(Ended(kind="train", result=None, exit={"code": 74, "signal": None}))
    assert (verdict.state, verdict.outcome) == (JobState.FAILED, "disk-full")
    assert verdict.error is not None
    assert "Free some space" in verdict.error["hint"]
    made = judge(Ended(kind="train", result=OK, exit={"code": 74, "signal": None}))
    assert made.state is JobState.SUCCEEDED


def test_an_orderly_stop_is_not_counted_as_a_death() -> None:
    verdict = judge(Ended(kind="train", result=failed("interrupted"), exit=None, fruitless=2))
    assert (verdict.state, verdict.fruitless) == (JobState.QUEUED, 2)


@pytest.mark.parametrize("exit_record", [None, {"code": 3, "signal": None}, {"code": None, "signal": 64}])
def test_any_manner_of_death_can_be_told(exit_record: dict[str, Any] | None) -> None:
    verdict = judge(Ended(kind="train", result=None, exit=exit_record, fruitless=9))
    assert verdict.error is not None
    assert verdict.error["message"].endswith(".")
    assert verdict.error["hint"]
