"""What a careful reader would say about a dataset: each finding with its rows and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from appliance.data.ledger import Ledger, State
from appliance.text import safe_text

_LISTED = 20
Severity = Literal["info", "warning", "error"]

# Code of an oddity that is left as it is → severity, what to say of one row, what to do.
_NOTES: dict[str, tuple[Severity, str, str]] = {
    "placeholder": ("warning", "a placeholder such as {{name}} was never filled in", "Fill the placeholders in."),
    "doubled-system-turn": ("warning", "more than one system turn", "Join the system turns into one."),
    "late-system-turn": ("warning", "a system turn that is not the first", "Move the system turn to the front."),
    "roles-not-alternating": ("warning", "the same role speaks twice in a row", "Join the turns of one speaker."),
    "starts-without-user": ("warning", "the conversation does not begin with the user", "Say what was asked first."),
}
_FIXES: dict[str, str] = {
    "lone-surrogate": "half characters (lone surrogates) were replaced by U+FFFD",
    "empty-system-turn": "empty system turns were left out",
    "unanswered-end": "turns after the last answer were left out",
    "truncated": "too long and cut",
}
_STATES: dict[State, tuple[Severity, str, str | None]] = {
    State.INVALID: ("warning", "unusable", "Correct the rows named; the ledger has every one."),
    State.NOTHING_TO_LEARN: ("warning", "nothing to learn", "Give each row an answer."),
    State.DUPLICATE: ("info", "the same as an earlier row", None),
    State.NEAR_DUPLICATE: ("info", "in other clothes the same as an earlier row", None),
    State.OVER_LENGTH: (
        "warning",
        "too long and left out",
        "Keep them with --over-length split or truncate, or take a base model with a longer context.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing found, about the whole file or about some rows."""

    code: str
    severity: Severity
    message: str
    where: str | None = None
    fix: str | None = None
    rows: tuple[int, ...] = ()
    count: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The finding as ``luthier.dataset/1`` holds it; no more than the first rows are listed."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "fix": self.fix,
            "count": self.count,
            "rows": list(self.rows[:_LISTED]),
        }


def row_findings(ledger: Ledger, notes: dict[str, list[int]], name: str) -> list[Finding]:
    """The findings about rows: what they were refused for, what is odd about them, what was changed."""
    found = []
    for state, (severity, words, fix) in _STATES.items():
        for code, rows in ledger.codes(state).items():
            found.append(_about(code, severity, f"{words}: {_reason(ledger, rows)}", (ledger, rows, name), fix))
        repeated = list(ledger.rows(state)) if state in (State.DUPLICATE, State.NEAR_DUPLICATE) else []
        if repeated:
            first = f"row {repeated[0]} repeats row {ledger.detail(repeated[0]).get('of')}"
            code = str(state).replace("_", "-")
            found.append(_about(code, severity, f"{words}: {first}", (ledger, repeated, name), fix))
    for code, rows in sorted(notes.items()):
        severity, words, fix = _NOTES[code]
        found.append(_about(code, severity, words, (ledger, rows, name), fix))
    for code, rows in sorted(_fixed(ledger).items()):
        found.append(_about(f"fixed-{code}", "info", _FIXES.get(code, "too long and split"), (ledger, rows, name)))
    return found


def _about(
    code: str, severity: Severity, words: str, where: tuple[Ledger, Sequence[int], str], fix: str | None = None
) -> Finding:
    ledger, rows, name = where
    many = f"{len(rows):,} rows" if len(rows) > 1 else f"row {rows[0]}"
    place = f"{name}:{ledger.line(rows[0])}"
    return Finding(code, severity, f"{many}: {words}", place, fix, tuple(rows), len(rows))


def _reason(ledger: Ledger, rows: Sequence[int]) -> str:
    """What is wrong with the first of the rows."""
    message = safe_text(ledger.detail(rows[0]).get("message", ""), limit=200)
    return f"row {rows[0]} {message}" if len(rows) > 1 else message


def _fixed(ledger: Ledger) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for state in (State.KEPT, State.HELD_OUT):
        for row in ledger.rows(state):
            for code in ledger.detail(row).get("fixed", ()):
                found.setdefault("split" if code.startswith("split-") else code, []).append(row)
    return {code: sorted(rows) for code, rows in found.items()}
