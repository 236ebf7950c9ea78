"""Method recipes: the operator's words for adapter × objective × base precision, with defaults and their sources."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance.errors import unknown_name
from profiles.catalogue import HERE


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method recipe."""

    name: str
    summary: str
    adapter: str
    objective: str
    base_precision: str
    defaults: Mapping[str, Any]


@cache
def known_methods() -> tuple[str, ...]:
    """The names of the shipped methods."""
    return tuple(sorted(path.stem for path in (HERE / "methods").glob("*.toml")))


def check_method(name: str) -> None:
    """Raise ``UnknownName``, with the nearest, unless ``name`` is ``auto`` or a method."""
    if name != "auto" and name not in known_methods():
        raise unknown_name("method", name, ("auto", *known_methods()))


def load_method(name: str) -> Method:
    """Read a method recipe. Raises ``UnknownName``."""
    check_method(name)
    data = tomllib.loads((HERE / "methods" / f"{name}.toml").read_text(encoding="utf-8"))
    return Method(name=name, **data)
