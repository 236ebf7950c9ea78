"""Any file is read or refused for the right reason, at the right place, and never with a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.data.encoding import find_encoding
from appliance.data.json_text import DEPTH_LIMIT
from appliance.data.readers import READERS, choose_reader
from appliance.data.rows import ROW_LIMIT, Row
from appliance.data.source import Source, find_source
from appliance.errors import FileNotFound, LuthierError, UnreadableData

DATA = os.environ.get("LUTHIER_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
SUITE = sorted(Path(DATA or "/nowhere").glob("json_test_suite/test_parsing/*.json"))
TABLES = sorted(Path(DATA or "/nowhere").glob("csv_spectrum/csvs/*.csv"))


def rows_of(path: Path, reader: str | None = None) -> list[Row]:
    source = find_source(path)
    encoding = find_encoding(source)
    return list(READERS.load(reader or choose_reader(source, encoding))(source, encoding))


def parquet_of(rows: list[dict[str, object]], **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


def arrow_of(rows: list[dict[str, object]], *, stream: bool = False) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_its_own_kind_and_numbers_rows_from_one(tmp_path: Path, name: str) -> None:
    content: dict[str, str | bytes] = {
        "parquet": parquet_of([{"a": "x"}, {"a": "y"}]),
        "arrow": arrow_of([{"a": "x"}, {"a": "y"}]),
        "jsonl": '{"a": "x"}\n\n{"a": "y"}\n',
        "json": '[{"a": "x"},\n {"a": "y"}]',
        "csv": "a,b\nx,1\ny,2\n",
        "tsv": "a\tb\nx\t1\ny\t2\n",
        "txt": "x" * 1200 + "\n\n" + "y\n",
    }
    path = write(tmp_path, f"file.{name}", content[name])
    assert choose_reader(find_source(path), find_encoding(find_source(path))) == name
    rows = rows_of(path)
    assert [row.number for row in rows] == [1, 2]
    assert rows[0].line < rows[1].line or name == "json"
    assert not any(row.fault for row in rows)
    first = rows[0].value
    assert first.startswith("x") if isinstance(first, str) else first["a"] == "x"


@needs_data
@pytest.mark.parametrize("path", [path for path in SUITE if path.name[0] == "y"], ids=lambda path: path.name)
def test_what_must_be_accepted_as_json_is_and_means_the_same(path: Path) -> None:
    rows = rows_of(path, "json")
    faults = {row.fault.code for row in rows if row.fault}
    assert faults == ({"repeated-key"} if "duplicated_key" in path.name else set())
    value = json.loads(path.read_bytes())
    assert [row.value for row in rows] == (value if isinstance(value, list) else [value])


@needs_data
@pytest.mark.parametrize("path", [path for path in SUITE if path.name[0] == "n"], ids=lambda path: path.name)
def test_what_must_be_refused_as_json_is_with_its_place(path: Path) -> None:
    for reader in ("json", "jsonl"):
        where, rows = refusal_or_rows(path, reader)
        if rows is None:
            assert where
            assert path.name in where
        else:
            assert not rows or any(row.fault for row in rows) or _is_lines_of_json(path)


def refusal_or_rows(path: Path, reader: str) -> tuple[str | None, list[Row] | None]:
    try:
        return None, rows_of(path, reader)
    except UnreadableData as error:
        return error.where, None


def _is_lines_of_json(path: Path) -> bool:
    """Some of the suite is wrong as one JSON text and right as JSON values on lines or one after another."""
    try:
        rest = path.read_text(encoding="utf-8").strip()
        while rest:
            _, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end:].strip()
    except (ValueError, RecursionError):
        return False
    return True


@needs_data
@pytest.mark.parametrize("path", [path for path in SUITE if path.name[0] == "i"], ids=lambda path: path.name)
def test_what_may_be_either_is_read_or_refused_without_a_traceback(path: Path) -> None:
    for reader in ("json", "jsonl"):
        with contextlib.suppress(LuthierError):
            rows_of(path, reader)


@needs_data
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_a_csv_says_what_its_json_says(path: Path) -> None:
    expected = json.loads((path.parents[1] / "json" / f"{path.stem}.json").read_text(encoding="utf-8"))
    rows = rows_of(path)
    assert not any(row.fault for row in rows)
    found = [row.value for row in rows]
    if b"\r" not in path.read_bytes():
        # Some of the files named for CRLF have lost it on their way here.
        expected = json.loads(json.dumps(expected).replace("\\r\\n", "\\n"))
    if path.stem == "location_coordinates":
        # Its JSON is of another row; the columns and the damaged bytes are what can be compared.
        assert list(found[0]) == list(expected if isinstance(expected, dict) else expected[0])
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16", b""), ("utf-16-le", b""), ("utf-32", b""), ("cp1252", b"")],
)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_the_encoding_of_a_file_is_found(tmp_path: Path, encoding: str, mark: bytes, suffix: str) -> None:
    rows = [
        {"prompt": f"Où est la gare numéro {n} ?", "completion": f"Là-bas, à côté du café n° {n}."} for n in range(20)
    ]
    content: dict[str, str | bytes] = {
        "parquet": parquet_of([{"a": "x"}, {"a": "y"}]),
        "arrow": arrow_of([{"a": "x"}, {"a": "y"}]),
        "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        "json": json.dumps(rows, ensure_ascii=False, indent=1),
        "csv": "prompt,completion\n" + "\n".join(f'{row["prompt"]},"{row["completion"]}"' for row in rows),
    }[suffix]
    path = write(tmp_path, f"file.{suffix}", mark + content.encode(encoding))
    assert [row.value for row in rows_of(path)] == rows


LEGACY = {
    "sample-chinese.txt": "big5",
    "sample-french-1.txt": "cp1252",
    "sample-greek.txt": "cp1253",
    "sample-greek-2.txt": "cp1253",
    "sample-hebrew-2.txt": "cp1255",
    "sample-korean.txt": "cp949",
    "sample-russian.txt": "mac_cyrillic",
}


@needs_data
@pytest.mark.parametrize("path", sorted(Path(DATA or "/nowhere").glob("encodings/*.txt")), ids=lambda path: path.name)
def test_real_files_in_legacy_encodings_are_read_as_what_they_are(path: Path) -> None:
    expected = LEGACY.get(path.name, "utf-8")
    encoding = find_encoding(find_source(path))
    assert encoding.name.removesuffix("-sig") == expected
    assert encoding.guessed == (path.name in LEGACY)
    assert bool(encoding.why) == encoding.guessed
    text = path.read_bytes().decode("utf-8-sig" if expected == "utf-8" else expected)
    assert " ".join(row.value for row in rows_of(path)).split() == text.split()


@pytest.mark.parametrize(
    ("text", "name"), [("Γειά σου, τι κάνεις σήμερα; ", "cp1253"), ("Где ближайшая станция? ", "cp1251")]
)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_table_in_another_alphabet_is_read(tmp_path: Path, text: str, name: str, suffix: str) -> None:
    rows = [{"prompt": f"{text}{n}", "completion": f"{n} {text}"} for n in range(30)]
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    if suffix == "csv":
        content = "prompt,completion\n" + "\n".join(f'"{row["prompt"]}","{row["completion"]}"' for row in rows)
    assert [row.value for row in rows_of(write(tmp_path, f"a.{suffix}", content.encode(name)))] == rows


def test_one_line_in_another_encoding_is_one_wrong_row(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"a": "é"}\n'.encode() + b'{"a": "\xe9"}\n' + b'{"a": "z"}\n')
    rows = rows_of(path)
    assert [row.fault.code if row.fault else None for row in rows] == [None, "bad-encoding", None]
    assert rows[1].line == 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"a": NaN}', "bad-json"),
        ('{"a": Infinity}', "bad-json"),
        ('{"a": 1e999}', "bad-json"),
        ('{"a": 1' + "0" * 200_000 + "}", "bad-json"),
        ('{"role": "user", "role": "assistant"}', "repeated-key"),
        ('{"a": ' + "[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT + "}", "too-deep"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "too-deep"),
        ('{"a": "' + "x" * ROW_LIMIT + '"}', "row-too-big"),
        ('{"a": "\x00"}', "bad-json"),
        ('{"a": "x"', "bad-json"),
        ("{'a': 1}", "bad-json"),
    ],
    ids=lambda value: str(value)[:24],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_wrong_line_is_one_wrong_row_and_reading_goes_on(tmp_path: Path, line: str, code: str, place: int) -> None:
    lines = ['{"a": "one"}', '{"a": "two"}']
    lines.insert(place, line)
    rows = rows_of(write(tmp_path, "a.jsonl", "\n".join(lines)), "jsonl")
    assert [row.fault.code if row.fault else None for row in rows] == [code if n == place else None for n in range(3)]
    assert [row.line for row in rows] == [1, 2, 3]


def test_nesting_at_the_limit_is_read(tmp_path: Path) -> None:
    text = "[" * (DEPTH_LIMIT - 1) + "]" * (DEPTH_LIMIT - 1)
    assert rows_of(write(tmp_path, "a.jsonl", '{"a": ' + text + "}"))[0].fault is None


def test_an_unfit_element_of_an_array_is_one_wrong_row(tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path, "a.json", '[{"a": 1},\n {"a": NaN},\n {"a": 1, "a": 2},\n {"a": 3}]'))
    assert [row.fault.code if row.fault else None for row in rows] == [None, "bad-json", "repeated-key", None]
    assert [row.line for row in rows] == [1, 2, 3, 4]


def test_a_broken_array_is_refused_at_its_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '[{"a": 1},\n {"b": 2} x]')
    with pytest.raises(UnreadableData) as caught:
        rows_of(path)
    assert caught.value.where == "a.json:2:11"


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=30), max_size=3), max_size=12),
    indent=st.sampled_from([None, 0, 2]),
    wide=st.booleans(),
)
def test_an_array_read_in_pieces_is_the_array_read_whole(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, str]], indent: int | None, wide: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=wide)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    path = write(tmp_path_factory.mktemp("array"), "a.json", data)
    assert [row.value for row in rows_of(path, "json")] == values


def test_a_long_array_is_read_past_the_edges_of_its_pieces(tmp_path: Path) -> None:
    values = [{"n": n, "text": "é\n" * (n % 700)} for n in range(3000)]
    path = write(tmp_path, "a.json", json.dumps(values, indent=2, ensure_ascii=False))
    rows = rows_of(path)
    assert [row.value for row in rows] == values
    assert [row.line for row in rows[:3]] == [2, 6, 10]
    assert rows[-1].line == 2 + 4 * 2999


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("a,b\n1,2\n3\n4,5,6\n7,8\n", [None, "wrong-cell-count", "wrong-cell-count", None]),
        ('a,b\n"x"y,1\n2,3\n', ["bad-csv", None]),
        ('a,b\n1,2\n"never ends,3\n4,5\n', [None, "bad-csv"]),
    ],
)
def test_a_wrong_row_of_a_table_is_one_wrong_row(tmp_path: Path, content: str, codes: list[str | None]) -> None:
    rows = rows_of(write(tmp_path, "a.csv", content))
    assert [row.fault.code if row.fault else None for row in rows] == codes


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_of_a_table_is_found(tmp_path: Path, separator: str) -> None:
    content = separator.join(["question", "answer"]) + "\n" + separator.join(['"a, b; c"', '"d\ne"']) + "\n"
    rows = rows_of(write(tmp_path, "a.csv", content))
    assert [row.value for row in rows] == [{"question": "a, b; c", "answer": "d\ne"}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "PNG"),
        ("a.jsonl", b"PAR1" + bytes(100), "Parquet"),
        ("a.txt", b"%PDF-1.4\n" + b"x" * 100, "PDF"),
        ("a.json", b"\x1f\x8b\x08" + bytes(50), "gzip"),
        ("a.txt", bytes(range(256)) * 20, "binary"),
        ("a.jsonl", b"", "empty"),
        ("a.csv", b"a,a\n1,2\n", "two columns"),
        ("a.csv", ",".join(f"c{n}" for n in range(100_000)).encode() + b"\n1\n", "100,000 columns"),
        ("a.txt", bytes(range(128, 256)) * 9, "cannot be told"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_text_or_no_table_is_refused_in_words(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(UnreadableData, match=words):
        rows_of(write(tmp_path, name, content))


def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path: Path) -> None:
    real = write(tmp_path, "real.jsonl", "{}")
    (tmp_path / "link.jsonl").symlink_to(real)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jsonl"))
        for name, words in (
            ("link.jsonl", "symbolic link"),
            ("pipe.jsonl", "named pipe"),
            ("socket.jsonl", "socket.jsonl"),
            ("", "a folder"),
        ):
            with pytest.raises(UnreadableData, match=words):
                find_source(tmp_path / name)
    with pytest.raises(UnreadableData, match="a device"):
        find_source("/dev/null")


@pytest.mark.parametrize("name", ["missing.jsonl", "real.jsonl/inside", "nul\0byte"])
def test_a_missing_file_is_not_found(tmp_path: Path, name: str) -> None:
    write(tmp_path, "real.jsonl", "{}")
    with pytest.raises(FileNotFound):
        find_source(tmp_path / name)


def test_a_file_that_grows_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"a": 1}\n' * 10)
    source = find_source(path)
    with pytest.raises(UnreadableData, match="changed"):
        _read_while_it_grows(source)


def _read_while_it_grows(source: Source) -> None:
    with source.open() as stream:
        stream.read(3)
        with source.path.open("a") as other:
            other.write('{"a": 2}\n')


def test_plain_text_keeps_documents_apart_and_paragraphs_whole(tmp_path: Path) -> None:
    text = "First.\n<|endoftext|>\nSecond,\nstill second.\n<|endoftext|>\n"
    assert [row.value for row in rows_of(write(tmp_path, "a.txt", text))] == ["First.", "Second,\nstill second."]
    long = "\n\n".join(f"Paragraph {n}. " + "word " * 100 for n in range(9))
    pieces = [row.value for row in rows_of(write(tmp_path, "b.txt", long))]
    assert "\n\n".join(piece for piece in pieces).split() == long.split()
    assert all(piece.startswith("Paragraph") for piece in pieces)
    assert len(pieces) > 2
