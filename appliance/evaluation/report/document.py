"""The blocks a report is made of. They hold plain text; only the renderers know how to write it safely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "quiet", "good", "bad", "warn"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One large number."""

    value: str
    label: str
    note: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table, when plain text is not enough."""

    text: str
    note: str = ""
    """Small print below the text."""
    tone: Tone = "plain"
    share: float | None = None
    """Between 0 and 1: drawn as a bar behind the text."""
    drawing: str = ""
    """SVG made by ``charts``, shown instead of the text where drawings can be shown."""
    code: bool = False


@dataclass(frozen=True)
class Paragraph:
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Verdict:
    """The one sentence the report is read for, and what it rests on."""

    title: str
    lines: tuple[str, ...]
    tone: Tone


@dataclass(frozen=True)
class Tiles:
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Pairs:
    """Names with their values."""

    pairs: tuple[tuple[str, str | Cell], ...]


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    """Columns that are aligned at the right."""


@dataclass(frozen=True)
class Code:
    text: str
    language: str
    title: str = ""


@dataclass(frozen=True)
class Figure:
    drawing: str
    """SVG made by ``charts``."""
    caption: str
    words: str
    """The same in a line of text."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One exercise with both answers."""

    prompt: str
    expected: str
    base: str | None
    tuned: str
    label: str
    base_correct: bool | None
    tuned_correct: bool | None


@dataclass(frozen=True)
class Samples:
    samples: tuple[Sample, ...]


Block = Paragraph | Verdict | Tiles | Pairs | Table | Code | Figure | Samples


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    title: str
    subtitle: str
    opening: tuple[Block, ...]
    sections: tuple[Section, ...]
    closing: str
