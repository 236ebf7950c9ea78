"""Finding a thing by what a person typed: its id, its name (the newest wins), or the beginning of its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sqlmodel import Session, SQLModel, col, select

from appliance.errors import Conflict, NotFound, nearest

_SHORTEST_PREFIX = 3
_MOST_SUGGESTED = 8


class Named(Protocol):
    """A row that has a number, an id and a name."""

    number: int | None
    id: str
    name: str


Row = TypeVar("Row", bound=SQLModel)


def find(session: Session, table: type[Row], key: str, what: str) -> Row:
    """The row that ``key`` means. Raises ``NotFound``, with the nearest name, and ``Conflict`` when it is ambiguous."""
    row = find_or_none(session, table, key, what)
    if row is None:
        raise _missing(session, table, key, what)
    return row


def find_or_none(session: Session, table: type[Row], key: str, what: str) -> Row | None:
    """Like ``find``, and None when nothing is meant."""
    named: type[Named] = table  # type: ignore[assignment]
    for field in (col(named.id), col(named.name)):
        found = session.exec(select(table).where(field == key).order_by(col(named.number).desc()).limit(1)).first()
        if found is not None:
            return found
    if len(key) < _SHORTEST_PREFIX:
        return None
    several = session.exec(select(table).where(col(named.id).startswith(key, autoescape=True)).limit(3)).all()
    if len(several) > 1:
        ids = ", ".join(row.id for row in several)  # type: ignore[attr-defined]
        raise Conflict(f"'{key}' begins the id of more than one {what}: {ids}…", hint="Give one more character.")
    return several[0] if several else None


def newest(session: Session, table: type[Row], limit: int = 1000) -> Sequence[Row]:
    """The newest rows of a table."""
    named: type[Named] = table  # type: ignore[assignment]
    return session.exec(select(table).order_by(col(named.number).desc()).limit(limit)).all()


def _missing(session: Session, table: type[Row], key: str, what: str) -> NotFound:
    rows = newest(session, table, 200)
    names = list(dict.fromkeys(name for row in rows for name in (row.name, row.id)))  # type: ignore[attr-defined]
    guess = nearest(key, names)
    if guess:
        return NotFound(f"There is no {what} '{key}' here.", hint=f"Did you mean '{guess}'?")
    known = ", ".join(list(dict.fromkeys(row.name for row in rows))[:_MOST_SUGGESTED])  # type: ignore[attr-defined]
    return NotFound(
        f"There is no {what} '{key}' here.", hint=f"Known: {known}." if known else f"There is no {what} yet."
    )


def exact(session: Session, table: type[Row], id_: str) -> Row | None:
    """A row by its whole id."""
    named: type[Named] = table  # type: ignore[assignment]
    return session.exec(select(table).where(col(named.id) == id_)).first()
