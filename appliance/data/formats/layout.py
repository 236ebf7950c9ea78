"""What every format offers, and how its columns are found among those of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.data.example import Message
from appliance.data.json_text import parse_json
from appliance.data.rows import RowFault

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Converted:
    """A row as turns or text, before it is checked."""

    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    text: str | None = None


@dataclass(frozen=True)
class Sniff:
    """How well a format fits a file, and why."""

    confidence: float
    """0 to 1."""
    mapping: dict[str, str]
    """Field of the format → column of the file."""
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """One field of a format and the names its column has in the wild, the format's own first."""

    name: str
    names: tuple[str, ...]
    required: bool = True
    fits: Callable[[Any], bool] = field(default=lambda value: is_text(value))


@dataclass(frozen=True)
class Format:
    """One layout of rows."""

    name: str
    fields: tuple[Field, ...]
    convert: Callable[[Row, Mapping[str, str]], Converted]
    """A row and the mapping → turns or text. Raises ``RowFault``."""
    weight: float = 1.0
    """Confidence when everything fits; layouts that fit many files by chance have less."""
    forbids: tuple[str, ...] = ()
    """Columns that mean something else is meant."""

    def sniff(
        self, columns: Sequence[str], samples: Sequence[Row], given: Mapping[str, str] | None = None
    ) -> Sniff | None:
        """How well it fits; None when a required column is missing. ``given`` columns are taken as they are."""
        mapping, evidence = self._columns(columns, samples, given or {})
        if any(part.required and part.name not in mapping for part in self.fields):
            return None
        if not given and any(name in columns for name in self.forbids):
            return None
        checks = [(part, mapping[part.name]) for part in self.fields if part.required]
        shares = [_share(part, column, samples) for part, column in checks]
        own = all(mapping[part.name] == part.name or mapping[part.name] in (given or {}).values() for part, _ in checks)
        confidence = self.weight * min(shares, default=1.0) * (1.0 if own else 0.9)
        evidence += [
            f"{share:.0%} of the rows looked at fit '{column}'"
            for (_, column), share in zip(checks, shares, strict=True)
        ]
        return Sniff(round(confidence, 3), mapping, tuple(evidence)) if confidence > 0 else None

    def _columns(
        self, columns: Sequence[str], samples: Sequence[Row], given: Mapping[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        mapping: dict[str, str] = {}
        evidence: list[str] = []
        plain = {_plain(column): column for column in reversed(columns)}
        for part in self.fields:
            if part.name in given:
                mapping[part.name] = given[part.name]
                evidence.append(f"{part.name} is taken from '{given[part.name]}' as asked")
                continue
            free = (plain[name] for name in part.names if name in plain and plain[name] not in mapping.values())
            found = next((column for column in free if _share(part, column, samples) > 0 or part.required), None)
            if found is not None:
                mapping[part.name] = found
                evidence.append(f"column '{found}' is {part.name}")
        return mapping, evidence


def _plain(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")


def _share(part: Field, column: str, samples: Sequence[Row]) -> float:
    if not samples:
        return 1.0
    return sum(part.fits(sample.get(column)) for sample in samples) / len(samples)


def is_text(value: Any) -> bool:
    """Whether a cell can be a text."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Whether a cell is a list of objects, or JSON of one."""
    if isinstance(value, str):
        return value.lstrip().startswith("[")
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def text_of(row: Row, mapping: Mapping[str, str], name: str) -> str | None:
    """The text of a field; None where it is absent or null. Numbers are written out. Raises ``RowFault``."""
    column = mapping.get(name)
    value = row.get(column) if column is not None else None
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if is_text(value):
        return str(value)
    raise RowFault("wrong-type", f"'{column}' holds {kind_of(value)}, expected text")


def required_text(row: Row, mapping: Mapping[str, str], name: str) -> str:
    """The text of a field that must be there. Raises ``RowFault``."""
    value = text_of(row, mapping, name)
    if value is None:
        raise RowFault("missing-value", f"'{mapping.get(name, name)}' is missing")
    return value


def list_of(row: Row, mapping: Mapping[str, str], name: str) -> list[Any] | None:
    """The list of a field, read from JSON where a table holds it as text. Raises ``RowFault``."""
    column = mapping.get(name)
    value = row.get(column) if column is not None else None
    if isinstance(value, str):
        if not value.strip():
            return None
        value = parse_json(value)
    if value is None or isinstance(value, list):
        return value
    raise RowFault("wrong-type", f"'{column}' holds {kind_of(value)}, expected a list")


def tools_of(row: Row, mapping: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row in OpenAI's form: objects of type function. Raises ``RowFault``."""
    found = []
    for tool in list_of(row, mapping, "tools") or ():
        if not isinstance(tool, dict):
            raise RowFault("wrong-type", f"a tool is {kind_of(tool)}, expected an object")
        found.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tuple(found)


def kind_of(value: Any) -> str:
    """What a value is, in words for people."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
