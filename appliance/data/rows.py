"""What a reader hands on: one input row, parsed or named as wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appliance.data.encoding import Encoding
    from appliance.data.source import Source

ROW_LIMIT = 8 * 1024 * 1024
"""Longest row, in bytes of text; longer ones are not examples."""


@dataclass(frozen=True)
class Fault:
    """Why a row cannot be used."""

    code: str
    """Stable and kebab-case; counted in findings and written in the ledger."""
    message: str


class RowFault(Exception):
    """Raised by formats and checks for a row that cannot be used; it never leaves the data room."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(code, message)


@dataclass(frozen=True)
class Row:
    """One input row."""

    number: int
    """1, 2, 3… over the rows of the file."""
    line: int
    """Where it begins in the file."""
    value: Any = None
    """An object for tables and JSON, a text for plain text."""
    fault: Fault | None = None
    """Why it cannot be used, if it cannot."""


Reader = Callable[["Source", "Encoding"], Iterator[Row]]
"""Yields every row of a file, wrong ones with their fault. Raises ``UnreadableData`` when the file cannot go on."""
