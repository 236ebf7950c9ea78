"""Which format a file is in and which column is what: inferred with evidence, or as asked, or asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.data.formats import FORMATS
from appliance.data.formats.layout import Converted, Format, Sniff
from appliance.data.rows import Row, RowFault
from appliance.data.unfit import refuse_unanswered, refuse_unfit
from appliance.errors import DataRejected, UsageError, nearest
from appliance.text import safe_text

SAMPLES = 200
"""Rows that are looked at before deciding."""
_MARGIN = 0.04
_RAW = "text"


@dataclass(frozen=True)
class Layout:
    """The decision."""

    format: Format
    mapping: dict[str, str]
    confidence: float
    evidence: tuple[str, ...]

    def convert(self, row: Row) -> Converted:
        """A row as turns or text. Raises ``RowFault``."""
        value = {_RAW: row.value} if isinstance(row.value, str) else row.value
        if not isinstance(value, dict):
            raise RowFault("not-an-object", f"is {type(value).__name__}, expected an object with named fields")
        return self.format.convert(value, self.mapping)


def infer(
    rows: Sequence[Row], *, asked: str = "auto", given: Mapping[str, str] | None = None, name: str = ""
) -> Layout:
    """Decide on a format from some rows. Raises ``DataRejected``, ``UnknownName`` and ``UsageError``."""
    given = given or {}
    samples = [{_RAW: row.value} if isinstance(row.value, str) else row.value for row in rows if row.fault is None]
    objects = [sample for sample in samples if isinstance(sample, dict)]
    columns = list(dict.fromkeys(column for sample in objects for column in sample))
    if not objects:
        raise _no_objects(rows, name)
    _check_given(given, columns)
    if asked == "auto" and not given and all(isinstance(row.value, str) for row in rows if row.fault is None):
        return Layout(FORMATS.load("text"), {_RAW: _RAW}, 1.0, ("the rows are plain text",))
    if asked != "auto":
        return _as_asked(FORMATS.load(asked), (columns, objects), given)
    if not given:
        refuse_unfit(columns, objects, name)
    found = [(form, sniff) for form in map(FORMATS.load, FORMATS) if (sniff := _sniff(form, columns, objects, given))]
    found.sort(key=lambda pair: -pair[1].confidence)
    if not found:
        refuse_unanswered(columns, objects, name)
        raise _no_format(columns, given, name)
    if len(found) > 1 and found[0][1].confidence - found[1][1].confidence < _MARGIN and not _same(found[0], found[1]):
        raise _two_fit(found, name)
    form, sniff = found[0]
    return Layout(form, sniff.mapping, sniff.confidence, sniff.evidence)


def _sniff(
    form: Format, columns: Sequence[str], objects: Sequence[Mapping[str, Any]], given: Mapping[str, str]
) -> Sniff | None:
    if not set(given) <= {part.name for part in form.fields}:
        return None
    return form.sniff(columns, objects, given)


def _as_asked(
    form: Format, seen: tuple[Sequence[str], Sequence[Mapping[str, Any]]], given: Mapping[str, str]
) -> Layout:
    columns, objects = seen
    known = [part.name for part in form.fields]
    for field in given:
        if field not in known:
            guess = nearest(field, known)
            raise UsageError(
                f"The format '{form.name}' has no field '{field}'. Known: {', '.join(known)}.",
                hint=f"Did you mean '{guess}'?" if guess else None,
            )
    sniff = form.sniff(
        columns, objects, given or {part.name: part.name for part in form.fields if part.name in columns}
    )
    if sniff is None:
        needed = [part.name for part in form.fields if part.required]
        raise DataRejected(
            f"The format '{form.name}' needs {', '.join(needed)}; the file has {_listed(columns)}.",
            hint=f"Say which column is which: --map {needed[0]}=COLUMN",
        )
    return Layout(form, sniff.mapping, sniff.confidence, (f"the format '{form.name}' was asked for", *sniff.evidence))


def _same(first: tuple[Format, Sniff], second: tuple[Format, Sniff]) -> bool:
    """Whether two decisions read the same columns, so that it does not matter which is taken."""
    return list(first[1].mapping.values())[:2] == list(second[1].mapping.values())[:2]


def _check_given(given: Mapping[str, str], columns: Sequence[str]) -> None:
    for field, column in given.items():
        if column not in columns:
            guess = nearest(column, columns)
            raise UsageError(
                f"There is no column '{safe_text(column, limit=60)}' for '{field}'. The file has {_listed(columns)}.",
                hint=f"Did you mean '{safe_text(guess, limit=60)}'?" if guess else None,
            )


def _no_objects(rows: Sequence[Row], name: str) -> DataRejected:
    first = rows[0] if rows else None
    if first is None:
        return DataRejected(f"{name} has no rows.", hint="Give a file with one example a line or row.", where=name)
    words = first.fault.message if first.fault else f"is {type(first.value).__name__}, expected an object"
    where = f"{name}:{first.line}"
    return DataRejected(
        f"None of the first {len(rows)} rows of {name} can be read. {where} {words}.",
        hint="Each row is to be an object with named fields, such as prompt and completion.",
        where=where,
    )


def _no_format(columns: Sequence[str], given: Mapping[str, str], name: str) -> DataRejected:
    asked = f" with {', '.join(f'{field}={column}' for field, column in given.items())}" if given else ""
    return DataRejected(
        f"No format fits {name}{asked}. It has {_listed(columns)}.",
        hint="Say which column is asked and which is answered: --map prompt=COLUMN --map completion=COLUMN",
        where=name,
    )


def _two_fit(found: Sequence[tuple[Format, Sniff]], name: str) -> DataRejected:
    choices = [
        f"{form.name} ({', '.join(f'{field}={column}' for field, column in sniff.mapping.items())})"
        for form, sniff in found[:2]
    ]
    return DataRejected(
        f"Two formats fit {name}: {' and '.join(choices)}.",
        hint=f"Choose one: --format {found[0][0].name} or --format {found[1][0].name}",
        where=name,
        fixes=[{"data.format": form.name, "data.mapping": dict(sniff.mapping)} for form, sniff in found[:2]],
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"'{safe_text(column, limit=40)}'" for column in columns[:12])
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return f"the columns {shown}{more}" if columns else "no columns"
