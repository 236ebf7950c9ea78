"""Parquet, Arrow, dataset folders and compressed files say what was written, and bombs are named before they burst."""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance.data.encoding import find_encoding
from appliance.data.ingest import check
from appliance.data.ledger import State
from appliance.data.readers import READERS, choose_reader
from appliance.data.rows import Row
from appliance.data.source import find_source
from appliance.data.unpack import HARMLESS, open_up
from appliance.errors import BombSuspected, DataRejected, LuthierError, UnreadableData
from appliance.spec import DataSpec

DATA = os.environ.get("LUTHIER_TEST_DATA")
PARQUET = sorted(Path(DATA or "/nowhere").glob("parquet_testing/data/*.parquet"))
PAIRS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(2500)]


def rows_of(path: Path) -> list[Row]:
    source = find_source(path)
    encoding = find_encoding(source)
    return list(READERS.load(choose_reader(source, encoding))(source, encoding))


def save_table(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def save_stream(path: Path, rows: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(rows)
    with path.open("wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize("path", PARQUET, ids=lambda path: path.name)
def test_every_parquet_file_that_pyarrow_reads_is_read(path: Path) -> None:
    try:
        expected = pq.read_table(path)
    except (pa.ArrowException, OSError):
        with pytest.raises(DataRejected):
            rows_of(path)
        return
    rows = rows_of(path)
    assert [row.number for row in rows] == list(range(1, expected.num_rows + 1))
    for name, column in zip(expected.column_names, expected.columns, strict=True):
        if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
            assert [row.value[name] for row in rows] == column.to_pylist()
    json.dumps([row.value for row in rows], allow_nan=False)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_parquet_file_gives_the_rows_that_were_written(tmp_path: Path, compression: str, dictionary: bool) -> None:
    rows = [{**row, "kind": f"é{number % 3}", "none": None} for number, row in enumerate(PAIRS)]
    path = save_table(
        tmp_path / "a.parquet", rows, compression=compression, use_dictionary=dictionary, row_group_size=700
    )
    assert [row.value for row in rows_of(path)] == rows


def test_nested_columns_and_other_types_become_what_json_has(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    row = {"messages": turns, "at": datetime(2026, 1, 2, 3, 4, 5), "share": float("nan"), "raw": b"\xff\xfe"}
    found = rows_of(save_table(tmp_path / "a.parquet", [row]))[0].value
    assert found["messages"] == turns
    assert found["at"].startswith("2026-01-02 03:04:05")
    assert found["share"] is None
    assert found["raw"] == {"bytes": 2}


@pytest.mark.parametrize("kind", ["file", "stream", "lz4"])
def test_arrow_files_and_streams_give_the_rows_that_were_written(tmp_path: Path, kind: str) -> None:
    table = pa.Table.from_pylist(PAIRS)
    options = pa.ipc.IpcWriteOptions(compression="lz4" if kind == "lz4" else None)
    make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    path = tmp_path / "a.feather"
    with path.open("wb") as sink, make(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=999)
    assert [row.value for row in rows_of(path)] == PAIRS


def test_a_saved_dataset_folder_is_one_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    save_stream(folder / names[0], PAIRS[:1000])
    save_stream(folder / names[1], PAIRS[1000:])
    state = {"_data_files": [{"filename": name} for name in names], "_indices_files": None, "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    found = check(folder, DataSpec())
    assert found["rows"]["total"] == 2500 == sum(found["rows"][state] for state in State)
    assert found["reader"] == "arrow"
    assert found["name"] == "saved"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"_data_files": [{"filename": "../secret.arrow"}]}, "names no data files"),
        ({"_data_files": []}, "names no data files"),
        ({"_data_files": [{"filename": "a.arrow"}], "_indices_files": [{"filename": "i.arrow"}]}, "an order"),
        ({"_data_files": [{"filename": "missing.arrow"}]}, "missing.arrow"),
    ],
)
def test_a_dataset_folder_cannot_name_what_lies_outside_it(tmp_path: Path, state: object, words: str) -> None:
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(LuthierError, match=words):
        check(tmp_path, DataSpec())


def test_of_a_folder_of_several_splits_one_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UnreadableData, match="train, test"):
        check(tmp_path, DataSpec())


@pytest.mark.parametrize("cut", [8, 100, 2000])
def test_a_truncated_parquet_file_is_refused_in_words(tmp_path: Path, cut: int) -> None:
    data = save_table(tmp_path / "a.parquet", PAIRS).read_bytes()
    (tmp_path / "b.parquet").write_bytes(data[:-cut])
    with pytest.raises(UnreadableData, match="Parquet"):
        rows_of(tmp_path / "b.parquet")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_damaged_bytes_never_get_further_than_an_error_with_a_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    data = (save_table if kind == "parquet" else save_stream)(path, PAIRS[:50]).read_bytes()
    refused = 0
    for place in range(4, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            rows_of(path)
        except LuthierError:
            refused += 1
    assert refused


def test_a_small_parquet_file_that_means_gigabytes_is_a_bomb(tmp_path: Path) -> None:
    text = "x" * 2_000_000
    table = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), [text])})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    (tmp_path / "bomb.parquet").write_bytes(sink.getvalue())
    assert len(sink.getvalue()) < 20_000
    with pytest.raises(BombSuspected, match=r"bomb\.parquet"):
        rows_of(tmp_path / "bomb.parquet")


def test_a_parquet_file_of_too_many_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({f"c{n}": [1] for n in range(600)}), path)
    with pytest.raises(UnreadableData, match="600 columns"):
        rows_of(path)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_file_is_taken_in_as_what_is_in_it(tmp_path: Path, kind: str) -> None:
    text = "\n".join(map(json.dumps, PAIRS)).encode()
    packed = gzip.compress(text) if kind == "gz" else pa.compress(text, "zstd", asbytes=True)
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed)
    (tmp_path / "b.jsonl").write_bytes(text)
    found, plain = check(tmp_path / f"a.jsonl.{kind}", DataSpec()), check(tmp_path / "b.jsonl", DataSpec())
    assert found["rows"] == plain["rows"]
    assert found["reader"] == "jsonl"


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_bomb_is_named_before_it_bursts(tmp_path: Path, kind: str) -> None:
    zeros = bytes(HARMLESS * 3)
    packed = gzip.compress(zeros) if kind == "gz" else pa.compress(zeros, "zstd", asbytes=True)
    path = tmp_path / f"bomb.jsonl.{kind}"
    path.write_bytes(packed)
    with pytest.raises(BombSuspected, match="grows from"):
        open_up(find_source(path), tmp_path)
    assert (tmp_path / "unpacked").stat().st_size <= HARMLESS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"a") + gzip.compress(b"b"), "more than one file"),
        (gzip.compress(b"a" * 1000)[:-9], "ends in the middle"),
        (gzip.compress(b""), "nothing in it"),
        (b"\x1f\x8b" + b"x" * 50, "unpacked"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 50, "unpacked"),
        (gzip.compress(zlib.compress(bytes(range(256)) * 99)), "binary"),
    ],
)
def test_a_broken_compressed_file_is_refused_in_words(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(UnreadableData, match=words):
        check(path, DataSpec())
