"""What became of every input row: exactly one state each, and the totals that follow."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from appliance.data.rows import Fault


class State(StrEnum):
    """Where a row ends up."""

    KEPT = "kept"
    """In the training split."""
    HELD_OUT = "held_out"
    """In the validation or the test split."""
    DUPLICATE = "duplicate"
    """Identical to an earlier row once normalised."""
    NEAR_DUPLICATE = "near_duplicate"
    """An earlier row in other clothes."""
    INVALID = "invalid"
    """Cannot be read or is not an example."""
    OVER_LENGTH = "over_length"
    """Longer than the sequence length."""
    NOTHING_TO_LEARN = "nothing_to_learn"
    """No answer, or none that is to be learnt."""
    QUARANTINED = "quarantined"
    """Its reading ended the reader."""


_STATES = tuple(State)
_PENDING = 255


class Ledger:
    """One entry a row, in the order of the file; small, because most rows need no words."""

    def __init__(self) -> None:
        self._states = bytearray()
        self._lines = array("Q")
        self._details: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._states)

    def enter(self, line: int) -> int:
        """Begin the entry of the next row and return its number."""
        self._states.append(_PENDING)
        self._lines.append(line)
        return len(self._states)

    def settle(self, row: int, state: State, **details: Any) -> None:
        """Give a row its state, once. A second one is a bug of ours."""
        if self._states[row - 1] != _PENDING:
            raise ValueError(f"Row {row} is already {self.state(row)}; it cannot become {state} too.")
        self._states[row - 1] = _STATES.index(state)
        if details:
            self.note(row, **details)

    def refuse(self, row: int, state: State, fault: Fault) -> None:
        """Give a row a state and the reason for it."""
        self.settle(row, state, code=fault.code, message=fault.message)

    def note(self, row: int, **details: Any) -> None:
        """Add to what is known about a row."""
        self._details.setdefault(row, {}).update(details)

    def state(self, row: int) -> State | None:
        """The state of a row; None while it has none."""
        code = self._states[row - 1]
        return None if code == _PENDING else _STATES[code]

    def line(self, row: int) -> int:
        """Where a row begins in its file."""
        return self._lines[row - 1]

    def counts(self) -> dict[str, int]:
        """The totals by state, and ``fixed``: rows among the kept and held-out ones that were changed.

        Raises ``ValueError`` when a row has no state: the states always sum to the total.
        """
        by_state = Counter(self._states)
        if by_state[_PENDING]:
            raise ValueError(f"{by_state[_PENDING]} rows have no state.")
        used = (State.KEPT, State.HELD_OUT)
        fixed = sum("fixed" in detail and self.state(row) in used for row, detail in self._details.items())
        counts = {str(state): by_state[place] for place, state in enumerate(_STATES)}
        return {"total": len(self), "fixed": fixed, **counts}

    def codes(self, state: State) -> dict[str, list[int]]:
        """The reasons for a state and the rows that have each, the most frequent first."""
        found: dict[str, list[int]] = {}
        for row, detail in sorted(self._details.items()):
            if "code" in detail and self.state(row) == state:
                found.setdefault(detail["code"], []).append(row)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    def rows(self, state: State) -> Iterator[int]:
        """The numbers of the rows in a state."""
        code = _STATES.index(state)
        return (row for row, found in enumerate(self._states, 1) if found == code)

    def detail(self, row: int) -> dict[str, Any]:
        """What is known about a row besides its state."""
        return self._details.get(row, {})

    def entries(self) -> Iterator[str]:
        """The lines of ``ledger.jsonl``."""
        for row in range(1, len(self) + 1):
            entry = {"row": row, "line": self.line(row), "state": str(self.state(row)), **self.detail(row)}
            yield json.dumps(entry, ensure_ascii=False)
