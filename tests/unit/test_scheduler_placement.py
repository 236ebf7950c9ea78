"""Placement: pure decisions about a queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.work import KINDS
from scheduler.placement import NEEDS, Candidate, Capacity, Need, Running, Start, place

ONE_CPU = Capacity(devices=["cpu"], light_jobs=2)
TWO_GPUS = Capacity(devices=["cuda:0", "cuda:1"], light_jobs=2)


def test_every_kind_of_job_has_a_stated_need() -> None:
    assert set(KINDS) | {"serve"} == set(NEEDS)


def test_a_device_is_given_to_one_job_at_a_time_and_the_next_is_told_who_has_it() -> None:
    decided = place([Candidate("j-a", "train"), Candidate("j-b", "evaluate")], [], ONE_CPU)
    assert decided.starts == [Start("j-a", "cpu")]
    assert "j-a" in decided.reasons["j-b"]
    assert "cpu" in decided.reasons["j-b"]


def test_two_devices_run_two_jobs() -> None:
    decided = place([Candidate("j-a", "train"), Candidate("j-b", "train")], [], TWO_GPUS)
    assert [start.device for start in decided.starts] == ["cuda:0", "cuda:1"]


def test_a_job_that_began_on_a_device_waits_for_that_device() -> None:
    busy = [Running("j-x", "train", "other", "cuda:1")]
    decided = place([Candidate("j-a", "train", "cuda:1"), Candidate("j-b", "train")], busy, TWO_GPUS)
    assert decided.starts == [Start("j-b", "cuda:0")]
    assert "j-x" in decided.reasons["j-a"]


def test_light_jobs_run_beside_a_training_and_are_limited_among_themselves() -> None:
    busy = [Running("j-t", "train", "t", "cpu")]
    decided = place([Candidate(f"j-{n}", "ingest") for n in range(3)], busy, ONE_CPU)
    assert [start.id for start in decided.starts] == ["j-0", "j-1"]
    assert "light slots" in decided.reasons["j-2"]


def test_there_is_one_server_and_it_takes_no_device() -> None:
    decided = place([Candidate("j-s", "serve")], [Running("j-t", "train", "t", "cpu")], ONE_CPU)
    assert decided.starts == [Start("j-s", None)]
    again = place([Candidate("j-s", "serve")], [Running("j-r", "serve", "endpoint")], ONE_CPU)
    assert again.starts == []


def test_a_job_whose_attempt_just_died_waits_a_little() -> None:
    queue = [Candidate("j-a", "train", not_before=10.0)]
    assert place(queue, [], ONE_CPU, now=9.0).starts == []
    assert place(queue, [], ONE_CPU, now=10.0).starts == [Start("j-a", "cpu")]


def test_a_machine_without_devices_says_so() -> None:
    decided = place([Candidate("j-a", "train")], [], Capacity(devices=[], light_jobs=1))
    assert "none" in decided.reasons["j-a"]


def test_a_report_whose_endpoint_died_meanwhile_waits_for_it() -> None:
    queue = [
        Candidate("j-r", "report", held="Waits for the endpoint, which is being started again."),
        Candidate("j-i", "ingest"),
    ]
    decided = place(queue, [], ONE_CPU)
    assert [start.id for start in decided.starts] == ["j-i"]
    assert "endpoint" in decided.reasons["j-r"]


@given(kinds=st.lists(st.sampled_from(sorted(NEEDS)), max_size=12), gpus=st.integers(0, 3), light=st.integers(1, 3))
def test_every_job_starts_or_has_a_reason_and_nothing_is_given_twice(kinds: list[str], gpus: int, light: int) -> None:
    queue = [Candidate(f"j-{n}", kind) for n, kind in enumerate(kinds)]
    decided = place(queue, [], Capacity([f"cuda:{n}" for n in range(gpus)], light))
    started = {start.id for start in decided.starts}
    assert started | set(decided.reasons) == {job.id for job in queue}
    assert not started & set(decided.reasons)
    devices = [start.device for start in decided.starts if start.device]
    assert len(devices) == len(set(devices))
    by_id = {job.id: job.kind for job in queue}
    assert sum(NEEDS[by_id[id_]] is Need.LIGHT for id_ in started) <= light
