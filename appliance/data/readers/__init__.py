"""How files become rows. Adding a reader is one file here and one line in the table."""

from __future__ import annotations

from appliance.data.encoding import BINARY, Encoding
from appliance.data.source import Source
from appliance.registry import Entry, Registry

READERS = Registry(
    "reader",
    {
        "jsonl": Entry("appliance.data.readers.json_lines:read", "One JSON value a line"),
        "json": Entry("appliance.data.readers.json_values:read", "A JSON array, or JSON values one after another"),
        "csv": Entry("appliance.data.readers.delimited:read", "A table with a header, its separator found by itself"),
        "tsv": Entry("appliance.data.readers.delimited:read_tabs", "A table with a header, separated by tabs"),
        "txt": Entry("appliance.data.readers.plain:read", "Plain text, in pieces of whole paragraphs"),
        "parquet": Entry("appliance.data.readers.columns:read_parquet", "A Parquet file", ("pyarrow",)),
        "arrow": Entry(
            "appliance.data.readers.columns:read_arrow", "An Arrow or Feather file, or a stream", ("pyarrow",)
        ),
    },
)
_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
}
_HEAD = 64 * 1024


def choose_reader(source: Source, encoding: Encoding) -> str:
    """The reader of a file: by what it holds, or by its suffix."""
    if encoding == BINARY:
        return "parquet" if source.head(4) == b"PAR1" else "arrow"
    suffix = "." + source.name.rpartition(".")[2].lower() if "." in source.name else ""
    named = _BY_SUFFIX.get(suffix)
    if named not in ("json", "jsonl", None):
        return str(named)
    first, second = _first_lines(source, encoding)
    if first.startswith(("{", "[")):
        return _kind_of_json(first, second)
    return named or ("csv" if "," in first and not first.endswith((".", "!", "?")) else "txt")


def _kind_of_json(first: str, second: str) -> str:
    """Lines, when the first line is a whole object and the next begins another."""
    if first.startswith("[") and not (first.endswith("]") and second):
        return "json"
    if first.endswith(("}", "]")):
        return "jsonl"
    return "json" if not second.startswith("{") or first in ("{", "[") else "jsonl"


def _first_lines(source: Source, encoding: Encoding) -> tuple[str, str]:
    head = source.head(_HEAD).decode(encoding.name, "replace").lstrip("\ufeff")
    first, second, *_ = [line.strip() for line in head.splitlines() if line.strip()] + ["", ""]
    return first, second
