"""Errors, registry, states, events, job folders and text."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import durable
from appliance.errors import (
    Conflict,
    CorruptFolder,
    DataRejected,
    DiskFull,
    LuthierError,
    UnknownName,
    UsageError,
    error_classes,
    error_from_dict,
)
from appliance.events import EventType, EventWriter, read_events
from appliance.jobdir import Job, JobDir, is_leased, take_lease
from appliance.registry import Entry, Registry
from appliance.states import ACTIVE, TERMINAL, TRANSITIONS, JobState, sources_of
from appliance.text import bytes_text, duration_text, safe_text

REPOSITORY = Path(__file__).parents[2]


def test_every_error_has_a_code_of_its_own_that_survives_the_wire() -> None:
    classes = list(error_classes())
    assert len({cls.code for cls in classes}) == len(classes)
    for cls in classes:
        sent = cls("What is wrong.", hint="Do this.", where="file:3", fixes=[{"label": "x"}])
        got = error_from_dict(json.loads(json.dumps(sent.as_dict())))
        assert type(got) is cls
        assert got.as_dict() == sent.as_dict()


def test_every_error_stands_in_the_tree_of_the_docstring() -> None:
    import appliance.errors

    for cls in error_classes():
        if cls.__module__ == "appliance.errors":
            assert cls.__name__ in (appliance.errors.__doc__ or "")


def test_an_error_of_a_room_keeps_its_exit_status_where_its_class_is_not_loaded() -> None:
    class Odd(DataRejected):
        code = "odd"

    told = Odd("x").as_dict() | {"code": "never-heard-of"}
    got = error_from_dict(told)
    assert (got.code, got.exit_status) == ("never-heard-of", 8)


def test_an_unknown_part_is_answered_with_the_nearest() -> None:
    table = Registry("adapter", {"lora": Entry("x:y", ""), "full": Entry("x:y", "")})
    with pytest.raises(UnknownName) as caught:
        table.load("lorra")
    assert caught.value.hint == "Did you mean 'lora'?"
    assert "full, lora" in caught.value.message


def test_a_part_whose_package_is_missing_says_which() -> None:
    table = Registry("engine", {"x": Entry("json:loads", "", requires=("surely_not_installed",))})
    with pytest.raises(UsageError, match="surely_not_installed"):
        table.load("x")


def test_a_job_moves_only_as_the_table_says() -> None:
    for source, target in product(JobState, JobState):
        assert (target in TRANSITIONS[source]) == (source in sources_of(target))
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL
    assert all(TRANSITIONS[state] for state in ACTIVE)


def test_every_state_can_be_reached_and_every_job_can_end() -> None:
    reached, frontier = {JobState.BLOCKED}, [JobState.BLOCKED]
    while frontier:
        following = TRANSITIONS[frontier.pop()] - reached
        reached |= following
        frontier += following
    assert reached == set(JobState)


def test_events_are_numbered_on_over_attempts_and_torn_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = EventWriter(path, attempt=1)
    first.emit(EventType.STARTED, kind="train", pid=1)
    first.emit(EventType.STEP, step=1, loss=float("nan"))
    first.close()
    with path.open("ab") as stream:
        stream.write(b'{"v": 1, "seq": 3, "type": "st')
    second = EventWriter(path, attempt=2)
    second.emit(EventType.ENDED, ok=True, code=None)
    second.close()
    events = list(read_events(path))
    assert [event["seq"] for event in events] == [1, 2, 3]
    assert events[1]["loss"] is None
    assert [event["seq"] for event in read_events(path, after=2)] == [3]


def test_a_job_folder_is_written_once_and_tampering_is_seen(tmp_path: Path) -> None:
    folder, job = JobDir(tmp_path / "j-1"), Job(id="j-1", kind="train", name="ü\ud800", spec={"a": [1, 2.5]})
    job = Job(**{**job.__dict__, "name": "ü"})
    folder.create(job)
    folder.create(job)
    assert folder.read() == job
    with pytest.raises(Conflict):
        folder.create(Job(id="j-1", kind="train", name="other", spec={}))
    folder.job_file.write_text(folder.job_file.read_text().replace("2.5", "2.6"))
    with pytest.raises(CorruptFolder, match="sha256"):
        folder.read()


def test_a_lease_goes_with_the_process_that_holds_it(tmp_path: Path) -> None:
    lease = tmp_path / "attempts" / "1" / "lease"
    code = (
        "import sys; from pathlib import Path; from appliance.jobdir import take_lease\n"
        f"take_lease(Path({str(lease)!r})); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    assert is_leased(lease)
    assert take_lease(lease) is None
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert not is_leased(lease)


def test_each_way_a_full_disk_shows_itself_becomes_one_error() -> None:
    for error in (
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0"),
        ValueError("I/O error: No space left on device (os error 28)"),
    ):
        with pytest.raises(DiskFull), durable.disk_errors(Path("/x")):
            raise error
    with pytest.raises(PermissionError), durable.disk_errors(Path("/x")):
        raise PermissionError(13, "denied")


def test_a_real_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A file-size limit makes the kernel itself refuse the write half-way (EFBIG stands in for ENOSPC there)."""
    durable.write_text(tmp_path / "state", "old")
    code = (
        "import resource, signal; from pathlib import Path; from appliance import durable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"durable.write_text(Path({str(tmp_path / 'state')!r}), 'n' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode != 0
    assert (tmp_path / "state").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(durable.PARTIAL)] == []


HOSTILE = [
    "\x1b]52;c;aGk=\x07",
    "\x1b[2J",
    "\x9b31m",
    "\u202egpj.exe",
    "a\ud800b",
    "x\r\ny",
    "[/nope]",
    "\u2028",
    "\x7f",
    "\0",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_loses_every_control_character(text: str) -> None:
    shown = safe_text(text)
    assert shown.isprintable() or shown.strip() == ""
    shown.encode()


@given(st.text(max_size=300))
def test_no_text_at_all_can_send_a_control_character(text: str) -> None:
    for shown in (safe_text(text), safe_text(text, multiline=True)):
        assert not {character for character in shown if ord(character) < 32 or 127 <= ord(character) < 160} - {
            "\n",
            "\t",
        }


def test_long_text_is_cut_and_says_so() -> None:
    assert safe_text("x" * 50, limit=10) == "xxxxxxxxxx… (40 more characters)"


def test_numbers_are_readable() -> None:
    assert [bytes_text(999), bytes_text(1_500_000), bytes_text(None)] == ["999 B", "1.5 MB", "unknown"]
    assert [duration_text(59), duration_text(61), duration_text(90_000)] == ["59s", "1m 01s", "1d 01h"]


def test_every_registry_target_names_something_that_exists() -> None:
    """Read with ``ast``, so that a mistyped target fails without importing anything heavy."""
    for target in _targets():
        module, _, attribute = target.partition(":")
        path = REPOSITORY / (module.replace(".", "/") + ".py")
        path = path if path.exists() else path.with_suffix("") / "__init__.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        names |= {ast.unparse(t) for node in tree.body if isinstance(node, ast.Assign) for t in node.targets}
        names |= {
            alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        assert attribute in names, target


def _targets() -> set[str]:
    found = set()
    for package in ("appliance", "profiles", "serving", "scheduler", "tui"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Entry" and node.args:
                    found.add(ast.literal_eval(node.args[0]))
    return found


def test_the_kernel_loads_nothing_heavy() -> None:
    modules = [
        "errors",
        "paths",
        "settings",
        "registry",
        "states",
        "spec",
        "events",
        "jobdir",
        "durable",
        "text",
        "work",
    ]
    code = "import sys\n" + "\n".join(f"import appliance.{name}" for name in modules)
    code += "\nheavy = {'torch', 'transformers', 'numpy', 'pydantic', 'fastapi', 'sqlalchemy'}"
    code += "\nprint(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"
    assert importlib.util.find_spec("torch") is not None


def test_a_named_failure_is_more_than_text() -> None:
    assert LuthierError("x").exit_status == 1
    assert LuthierError("x").as_dict()["schema"] == "luthier.error/1"
