"""A child that reads a stranger's file crashes, burns and floods alone, and says by name how it ended."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.data.cage import Limits, Tell, limits_for, network_can_be_cut, run_caged
from appliance.errors import Interrupted, ParserCrashed, UnreadableData, error_classes

SMALL = Limits(cpu_seconds=1, memory_bytes=512 * 2**20, file_bytes=2**20, wall_seconds=60)


def test_a_child_hands_back_its_result_and_what_it_tells() -> None:
    told: list[object] = []

    def work(tell: Tell) -> object:
        for n in range(3):
            tell({"n": n, "text": "é" * 100_000})
        return {"pid": os.getpid()}

    assert run_caged(work, SMALL, told.append)["pid"] != os.getpid()
    assert [message["n"] for message in told if isinstance(message, dict)] == [0, 1, 2]


def test_an_error_with_a_name_comes_back_as_it_was() -> None:
    def work(tell: Tell) -> object:
        raise UnreadableData("a.csv:3 is odd.", hint="Correct it.", where="a.csv:3")

    with pytest.raises(UnreadableData) as caught:
        run_caged(work, SMALL)
    assert (caught.value.message, caught.value.where) == ("a.csv:3 is odd.", "a.csv:3")
    assert ParserCrashed in error_classes()


def crash(tell: Tell) -> object:
    return ctypes.string_at(0)


def burn(tell: Tell) -> object:
    while True:
        pass


def eat(tell: Tell) -> object:
    return [bytes(2**26) for _ in range(1000)] and None


def flood(tell: Tell) -> object:
    Path(f"flood-{os.getpid()}").write_bytes(bytes(2**22))
    return None


@pytest.mark.parametrize(
    ("work", "words"), [(crash, "SIGSEGV"), (burn, "seconds of computing"), (eat, "memory"), (flood, "wrote more")]
)
def test_a_crash_or_a_limit_is_a_named_error_and_this_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: object, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParserCrashed, match=words) as caught:
        run_caged(work, SMALL, what="a.parquet")  # type: ignore[arg-type]
    assert "a.parquet" in str(caught.value)
    assert caught.value.exit_status == 8
    assert not list(tmp_path.glob("core*"))


def test_a_child_that_sleeps_is_ended_by_the_clock() -> None:
    begun = time.monotonic()
    with pytest.raises(ParserCrashed, match="longer than it may"):
        run_caged(lambda tell: time.sleep(600), replace(SMALL, wall_seconds=1.0))
    assert time.monotonic() - begun < 300


def test_a_listener_that_stops_ends_the_child() -> None:
    pids: list[int] = []

    def work(tell: Tell) -> object:
        tell(os.getpid())
        time.sleep(600)
        return None

    def heard(told: object) -> None:
        if isinstance(told, int):
            pids.append(told)
        else:
            raise Interrupted("The worker was asked to stop.")

    with pytest.raises(Interrupted):
        run_caged(work, SMALL, heard)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_bug_of_ours_is_no_fault_of_the_file(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="status 70"):
        run_caged(lambda tell: 1 // 0, SMALL)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_child_has_no_network_where_the_system_lets_us_cut_it() -> None:
    if not network_can_be_cut():
        pytest.skip("this system gives no network namespaces to us")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def work(tell: Tell) -> object:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port))

        assert run_caged(work, SMALL) != 0
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == 0


def test_files_are_still_ours_in_the_child(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine").chmod(0o600)

    def work(tell: Tell) -> object:
        (tmp_path / "made").write_text((tmp_path / "mine").read_text() + "y")
        return None

    run_caged(work, SMALL)
    assert (tmp_path / "made").read_text() == "xy"
    assert (tmp_path / "made").stat().st_uid == os.getuid()


def test_limits_grow_with_the_file() -> None:
    small, large = limits_for(1000), limits_for(10 * 2**30)
    assert small.cpu_seconds <= 60
    assert large.cpu_seconds > 3600
    assert large.memory_bytes > small.memory_bytes
