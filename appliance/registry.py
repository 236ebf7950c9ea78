"""Lazy tables of parts: a name, where the part lives, one line about it, and what it needs installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from appliance.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Entry:
    """Where a part lives and what it is for; nothing is imported until it is loaded."""

    target: str
    """``module:attribute``."""
    summary: str
    """One line for ``--help``."""
    requires: tuple[str, ...] = ()
    """Top-level packages that must be installed."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The required packages that are not installed."""
        return tuple(name for name in self.requires if find_spec(name) is None)


class Registry(Mapping[str, Entry]):
    """A table of one kind of part."""

    def __init__(self, what: str, entries: Mapping[str, Entry]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise unknown_name(self.what, name, self._entries) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def load(self, name: str) -> Any:
        """Import the part called ``name``. Raises ``UnknownName``, or ``UsageError`` if a package is missing."""
        entry = self[name]
        if entry.missing:
            packages = ", ".join(entry.missing)
            raise UsageError(
                f"The {self.what} '{name}' needs {packages}, which is not installed.",
                hint=f"Install it into Luthier's environment: pip install {' '.join(entry.missing)}",
            )
        module, _, attribute = entry.target.partition(":")
        return getattr(import_module(module), attribute)
