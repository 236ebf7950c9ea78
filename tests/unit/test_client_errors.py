"""What the client makes of the answers it gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from appliance.client import Client
from appliance.errors import Conflict, DaemonUnreachable, LuthierError, NotFound
from appliance.paths import Paths, find_paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return find_paths({"LUTHIER_HOME": str(tmp_path)})


def client(paths: Paths, answer: Callable[[httpx2.Request], httpx2.Response]) -> Client:
    return Client(paths, httpx2.MockTransport(answer))


def test_without_a_socket_the_daemon_is_unreachable_and_the_hint_says_how_to_start_it(paths: Paths) -> None:
    with Client(paths) as without, pytest.raises(DaemonUnreachable) as caught:
        without.status()
    assert caught.value.exit_status == 3
    assert "daemon start" in str(caught.value.hint)
    assert str(paths.socket) in caught.value.message


def test_a_problem_document_becomes_the_error_it_names(paths: Paths) -> None:
    problem = {"title": "x", "status": 409, "code": "illegal-transition", "message": "It ended.", "hint": "Rerun it."}
    with (
        client(paths, lambda _: httpx2.Response(409, json=problem)) as one,
        pytest.raises(Conflict, match="It ended") as caught,
    ):
        one.act("j-1", "pause")
    assert caught.value.hint == "Rerun it."


def test_an_answer_that_is_no_problem_document_still_becomes_a_named_error(paths: Paths) -> None:
    with (
        client(paths, lambda _: httpx2.Response(502, text="<html>")) as one,
        pytest.raises(LuthierError, match="502"),
    ):
        one.status()


def test_names_with_slashes_and_spaces_stay_one_segment_of_the_path(paths: Paths) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.raw_path.decode())
        return httpx2.Response(404, json={"code": "not-found", "message": "None."})

    with client(paths, answer) as one, pytest.raises(NotFound):
        one.job("../models/a b?x")
    assert asked == ["/api/v1/jobs/..%2Fmodels%2Fa%20b%3Fx"]


def test_every_page_of_a_list_is_read_when_no_limit_is_given(paths: Paths) -> None:
    pages = {None: {"items": [{"id": "a"}], "next": "1"}, "1": {"items": [{"id": "b"}], "next": None}}
    with client(paths, lambda r: httpx2.Response(200, json=pages[r.url.params.get("after")])) as one:
        assert [job["id"] for job in one.jobs(state="running")] == ["a", "b"]


def test_the_stream_yields_events_and_remembers_where_to_go_on(paths: Paths) -> None:
    lines = [": hello", "id: 7", "event: job", f"data: {json.dumps({'id': 'j-1'})}", "", "event: reset", "data: {}", ""]
    body = "\n".join(lines) + "\n"
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=body)
    with client(paths, lambda _: answer) as one:
        assert list(one.stream()) == [("job", {"id": "j-1"}), ("reset", {})]
        assert one.cursor == 7


def test_a_refused_stream_raises_the_error_that_was_named(paths: Paths) -> None:
    problem = {"code": "not-permitted", "message": "No."}
    with client(paths, lambda _: httpx2.Response(403, json=problem)) as one, pytest.raises(LuthierError, match="No"):
        list(one.stream())


def test_a_code_without_a_class_here_keeps_its_name(paths: Paths) -> None:
    problem = {"code": "invented-later", "message": "Something else."}
    with client(paths, lambda _: httpx2.Response(422, json=problem)) as one, pytest.raises(LuthierError) as caught:
        one.status()
    assert (caught.value.code, caught.value.exit_status) == ("invented-later", 1)
