"""Taking files in through the real processes: every row is accounted for, and twice the same is the same."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import durable
from appliance.data.chat import encode_example, load_template, load_tokenizer
from appliance.data.example import Example, Message, read_examples
from appliance.data.ingest import check
from appliance.data.ledger import State
from appliance.data.preview import pieces, preview
from appliance.errors import DataRejected, FileNotFound, InvalidBaseModel, UnreadableData, UsageError
from appliance.jobdir import Job, JobDir
from appliance.spec import DataSpec

ROOT = Path(__file__).parents[2]
DATA = os.environ.get("LUTHIER_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
ALPACA = Path(DATA or "/nowhere") / "llamafactory" / "alpaca_en_demo.json"
STORIES = Path(DATA or "/nowhere") / "tinystories656k"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def make_job(folder: Path, data: dict[str, Any], base: Path | None = None, **spec: Any) -> JobDir:
    job = Job(
        id="j-000001",
        kind="ingest",
        name="test",
        spec={"data": data, **spec},
        inputs={"base": None if base is None else str(base)},
    )
    made = JobDir(folder)
    made.create(job)
    return made


def work(job: JobDir, **environ: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "appliance.work", str(job.path)]
    done = subprocess.run(command, env=environment(**environ), capture_output=True, text=True, check=False)
    result = job.read_result(job.last_attempt())
    assert result is not None, done.stderr
    return result


def run_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance.data.check", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)


def pairs(path: Path, count: int = 40) -> Path:
    rows = [{"prompt": f"What is the {n}th name?", "completion": f"Name {n}."} for n in range(count)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@needs_data
def test_a_real_file_is_taken_in_with_every_row_in_one_state(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", {"path": str(ALPACA)}, STORIES, name="alpaca", sequence_length=None)
    result = work(job)
    assert result["ok"], result
    dataset = result["result"]["dataset"]
    folder = Path(dataset["path"])
    durable.verify_folder(folder)
    rows = dataset["rows"]
    assert rows["total"] == 999 == sum(rows[state] for state in State)
    assert rows["duplicate"] == 14
    assert 200 <= rows["over_length"] <= 300
    assert dataset["sequence_length"] == 512
    assert "tokenizer-loss" in {finding["code"] for finding in dataset["findings"]}
    ledger = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert [entry["row"] for entry in ledger] == list(range(1, 1000))
    assert Counter(entry["state"] for entry in ledger) == {s: rows[s] for s in State if rows[s]}
    examples = {split: list(read_examples(folder / f"{split}.jsonl")) for split in dataset["splits"]}
    assert {split: len(found) for split, found in examples.items()} == dataset["splits"]
    by_state = {entry["row"]: entry["state"] for entry in ledger}
    assert all(by_state[example.row] == "kept" for example in examples["train"])
    assert all(by_state[example.row] == "held_out" for example in examples["test"] + examples["validation"])
    groups = [{example.group for example in found} for found in examples.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert hashlib.sha256(ALPACA.read_bytes()).hexdigest() == dataset["source"]["sha256"]
    assert (folder / "source").read_bytes() == ALPACA.read_bytes()


@needs_data
def test_what_is_kept_fits_and_what_is_dropped_does_not(tmp_path: Path) -> None:
    tokenizer, template = load_tokenizer(STORIES), load_template(STORIES)
    job = make_job(tmp_path / "job", {"path": str(ALPACA)}, STORIES)
    dataset = work(job)["result"]["dataset"]
    kept = {example.row for example in read_examples(Path(dataset["path"]) / "train.jsonl")}
    rows = json.loads(ALPACA.read_text())
    lengths = {}
    for number, row in enumerate(rows, 1):
        question = f"{row['instruction']}\n{row['input']}" if row["input"].strip() else row["instruction"]
        messages = (Message(role="user", content=question), Message(role="assistant", content=row["output"]))
        lengths[number] = len(encode_example(Example(row=number, messages=messages), tokenizer, template).ids)
    assert max(lengths[row] for row in kept) <= 512
    assert dataset["tokens"]["longest"] <= 512
    too_long = {row for row, length in lengths.items() if length > 512}
    entries = [json.loads(line) for line in (Path(dataset["path"]) / "ledger.jsonl").read_text().splitlines()]
    dropped = {entry["row"] for entry in entries if entry["state"] == "over_length"}
    repeated = {entry["row"] for entry in entries if "duplicate" in entry["state"]}
    assert dropped == too_long - repeated


@pytest.mark.parametrize(
    "environ", [{"PYTHONHASHSEED": "7", "LC_ALL": "C"}, {"PYTHONHASHSEED": "8", "LC_ALL": "C.UTF-8"}]
)
def test_the_same_file_makes_the_same_bytes(tmp_path: Path, environ: dict[str, str]) -> None:
    source = pairs(tmp_path / "pairs.jsonl", 200)
    names = ("train.jsonl", "validation.jsonl", "test.jsonl", "ledger.jsonl")
    first = Path(work(make_job(tmp_path / "a", {"path": str(source)}))["result"]["dataset"]["path"])
    second = Path(work(make_job(tmp_path / "b", {"path": str(source)}), **environ)["result"]["dataset"]["path"])
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_second_attempt_after_a_kill_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    source = pairs(tmp_path / "pairs.jsonl", 4000)
    job = make_job(tmp_path / "job", {"path": str(source)})
    command = [sys.executable, "-m", "appliance.work", str(job.path)]
    child = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(job.artifacts.glob(".partial-*/spool*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (job.artifacts / "dataset").exists()
    again = work(job)
    assert again["ok"]
    assert [path.name for path in job.artifacts.iterdir()] == ["dataset"]
    assert again["result"]["dataset"]["rows"]["total"] == 4000
    third = work(job)
    assert third["result"] == again["result"]


def test_a_stored_source_is_taken_in_again_under_its_own_name(tmp_path: Path) -> None:
    source = tmp_path / "pairs.csv"
    source.write_text("question,answer\n" + "\n".join(f"q{n},a{n}" for n in range(30)))
    first = work(make_job(tmp_path / "a", {"path": str(source), "seed": 3}))["result"]["dataset"]
    again = work(make_job(tmp_path / "b", {"path": f"{first['path']}/source", "seed": 3}))["result"]["dataset"]
    assert again["source"] == first["source"]
    assert again["rows"] == first["rows"]
    assert again["reader"] == "csv"


def test_replay_rows_are_taken_in_too_without_what_is_held_out(tmp_path: Path) -> None:
    source = pairs(tmp_path / "pairs.jsonl", 40)
    old = [{"instruction": f"Old skill {n}", "output": f"done {n}"} for n in range(20)]
    old += [{"instruction": f"What is the {n}th name?", "output": "leaked"} for n in range(40)]
    replay = tmp_path / "replay.json"
    replay.write_text(json.dumps([*old, old[0], {"instruction": "", "output": ""}]))
    job = make_job(tmp_path / "job", {"path": str(source), "replay": str(replay), "replay_share": 0.3})
    dataset = work(job)["result"]["dataset"]
    folder = Path(dataset["path"])
    held = {e.group for split in ("test", "validation") for e in read_examples(folder / f"{split}.jsonl")}
    replayed = list(read_examples(folder / "replay.jsonl"))
    assert held
    assert not held & {example.group for example in replayed}
    assert len(replayed) == dataset["replay"]["examples"] == 60 - dataset["rows"]["held_out"]
    assert dataset["replay"]["rows"]["total"] == 62 == sum(dataset["replay"]["rows"][state] for state in State)
    assert dataset["rows"]["total"] == 40
    durable.verify_folder(folder)


ROW = st.one_of(
    st.fixed_dictionaries({"prompt": st.text(max_size=12), "completion": st.text(max_size=12)}),
    st.fixed_dictionaries({"prompt": st.sampled_from(["a", "A!", "b"]), "completion": st.sampled_from(["c", "C", ""])}),
    st.fixed_dictionaries({"prompt": st.none() | st.integers(), "completion": st.lists(st.integers(), max_size=2)}),
    st.dictionaries(st.sampled_from(["prompt", "completion", "x"]), st.text(max_size=5), max_size=3),
    st.sampled_from([1, None, "text", [], {}, [{"role": "user"}]]),
)
LINE = st.one_of(
    ROW.map(json.dumps),
    st.sampled_from(
        ['{"prompt": NaN}', '{"prompt": "a", "prompt": "b"}', "{", "[" * 99, "\x00", '{"prompt": "\\ud800"}']
    ),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(LINE, max_size=40))
def test_any_list_of_rows_reconciles_or_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    spec = DataSpec(format="prompt-completion", mapping={"prompt": "prompt", "completion": "completion"})
    try:
        found = check(path, spec)
    except (DataRejected, UsageError):
        return
    rows = found["rows"]
    assert rows["total"] == len([line for line in lines if line.strip()])
    assert rows["total"] == sum(rows[state] for state in State)
    assert found["splits"]["train"] == rows["kept"] > 0
    assert found["splits"]["validation"] + found["splits"]["test"] == rows["held_out"]


@needs_data
@pytest.mark.parametrize("policy", ["split", "truncate", "drop"])
def test_examples_that_are_too_long_are_treated_as_asked(tmp_path: Path, policy: str) -> None:
    long = "Once upon a time there was a little girl. " * 200
    talk = [
        {"role": role, "content": "One day, the cat sat. " * 14} for _ in range(6) for role in ("user", "assistant")
    ]
    rows = [
        {"messages": [{"role": "user", "content": "Tell."}, {"role": "assistant", "content": long}]},
        {"messages": [{"role": "system", "content": "Be kind."}, *talk]},
        *(
            {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "Yes."}]}
            for n in range(9)
        ),
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    job = make_job(
        tmp_path / "job", {"path": str(path), "over_length": policy, "test": 0.0, "validation": 0.0}, STORIES
    )
    dataset = work(job)["result"]["dataset"]
    examples = list(read_examples(Path(dataset["path"]) / "train.jsonl"))
    tokenizer, template = load_tokenizer(STORIES), load_template(STORIES)
    assert all(len(encode_example(example, tokenizer, template).ids) <= 512 for example in examples)
    pieces_of_talk = [example for example in examples if example.row == 2]
    if policy == "drop":
        assert dataset["rows"]["over_length"] == 2
        assert dataset["rows"]["kept"] == 9
    elif policy == "split":
        assert dataset["rows"]["over_length"] == 1
        assert sum(len(piece.messages) - 1 for piece in pieces_of_talk) == 12
        assert all(piece.messages[0].content == "Be kind." and piece.parent == 2 for piece in pieces_of_talk)
        assert len({piece.group for piece in pieces_of_talk}) == 1
    else:
        assert dataset["rows"]["over_length"] == 0
        assert dataset["rows"]["fixed"] == 2
        cut = next(example for example in examples if example.row == 1)
        assert long.startswith(cut.messages[1].content)
        assert len(cut.messages[1].content) > len(long) // 8


@needs_data
def test_plain_text_that_is_too_long_is_cut_where_words_end_and_nothing_is_lost(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(900)]
    path = tmp_path / "long.txt"
    path.write_text(" ".join(words))
    job = make_job(tmp_path / "job", {"path": str(path), "over_length": "split", "test": 0, "validation": 0}, STORIES)
    folder = Path(work(job)["result"]["dataset"]["path"])
    texts = [example.text or "" for example in read_examples(folder / "train.jsonl")]
    assert len(texts) > 3
    assert "".join(texts).split() == words


@needs_data
def test_the_policy_to_stop_stops_with_the_choices() -> None:
    with pytest.raises(DataRejected, match="more than 512 tokens") as caught:
        check(ALPACA, DataSpec(over_length="stop"), STORIES)
    assert [fix["data.over_length"] for fix in caught.value.fixes] == ["drop", "split", "truncate"]


@needs_data
def test_answers_for_which_the_tokenizer_has_no_token_are_nothing_to_learn(tmp_path: Path) -> None:
    rows = [{"prompt": f"Translate {n}.", "completion": "你好" if n < 3 else "Hello."} for n in range(10)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = check(path, DataSpec(), STORIES)
    assert found["rows"]["nothing_to_learn"] == 3
    assert found["rows"]["kept"] + found["rows"]["held_out"] == 7


@pytest.mark.parametrize(
    ("name", "content", "error", "status"),
    [
        ("missing.jsonl", None, FileNotFound, 4),
        ("empty.jsonl", b"", UnreadableData, 8),
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(99), UnreadableData, 8),
        ("header.csv", b"prompt,completion\n", DataRejected, 8),
        ("blank.jsonl", b"\n\n \n", DataRejected, 8),
        ("half.jsonl", b'{"prompt": "a", "completion": "b"}\n{"x"\n{"y"\n', DataRejected, 8),
        ("unanswered.jsonl", b'{"prompt": "a", "completion": ""}\n' * 3, DataRejected, 8),
        ("deep.json", b"[" * 100_000, UnreadableData, 8),
        ("scalars.json", b"[1, 2, 3]", DataRejected, 8),
    ],
)
def test_a_bad_file_is_refused_by_the_child_with_a_code_and_a_hint(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception], status: int
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run_check(str(tmp_path / name))
    assert done.returncode == status
    assert done.stdout == ""
    body = json.loads(done.stderr)
    assert body["schema"] == "luthier.error/1"
    assert body["code"] == error.code  # type: ignore[attr-defined]
    assert body["message"]
    assert "Traceback" not in done.stderr


def test_the_child_prints_the_dataset_with_the_rows_of_each_finding(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "answer": "I am {{name}}." if n % 2 else f"a{n}"} for n in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + '\n{"question": \n')
    done = run_check(str(tmp_path / "a.jsonl"), "--map", "prompt=question", "--map", "completion=answer")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "luthier.dataset/1"
    assert found["mapping"] == {"prompt": "question", "completion": "answer"}
    by_code = {finding["code"]: finding for finding in found["findings"]}
    assert by_code["placeholder"]["rows"] == list(range(2, 21, 2))
    assert by_code["bad-json"]["where"] == "a.jsonl:21"
    assert by_code["bad-json"]["count"] == 1


def test_a_base_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = pairs(tmp_path / "a.jsonl")
    with pytest.raises(InvalidBaseModel, match=r"tokenizer\.json"):
        check(path, DataSpec(), tmp_path)
    with pytest.raises(InvalidBaseModel, match="not a folder"):
        check(path, DataSpec(), tmp_path / "nowhere")


@needs_data
def test_a_preview_shows_every_token_and_which_are_learnt() -> None:
    tokenizer, template = load_tokenizer(STORIES), load_template(STORIES)
    messages = (Message(role="user", content="Hi there."), Message(role="assistant", content="The big cat."))
    example = Example(row=1, messages=messages)
    shown = preview(example, tokenizer, template)
    assert "".join(text for text, learnt in shown if learnt) == "The big cat.<|end_story|>"
    assert "".join(text for text, _ in shown) == template.render([message.as_dict() for message in messages])
    ids = [id_ for piece in pieces(example, tokenizer, template) for id_ in piece.ids]
    assert ids == encode_example(example, tokenizer, template).ids


def test_the_data_room_loads_no_heavy_library() -> None:
    script = (
        "import sys, appliance.data.ingest, appliance.data.check, appliance.data.preview;"
        "from appliance.data.formats import FORMATS; from appliance.data.readers import READERS;"
        "[FORMATS.load(n) for n in FORMATS]; [READERS.load(n) for n in READERS];"
        "print([m for m in ('torch', 'transformers', 'numpy', 'pyarrow', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
