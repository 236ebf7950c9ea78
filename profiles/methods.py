"""Method recipes: the operator's words for adapter × objective × base precision, with defaults and their sources."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance.errors import UnknownName, unknown_name
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
    reasons: Mapping[str, str]
    """Why a default is what it is."""


@cache
def known_methods() -> tuple[str, ...]:
    """The names of the shipped methods."""
    return tuple(sorted(path.stem for path in (HERE / "methods").glob("*.toml")))


# Methods that people know and this trainer lacks: why, and what is nearest.
_LACKING = {
    "qlora": "a base model in 4 bits (nf4) is not among what it trains; lora in bf16 is the nearest",
    "adalora": "it does not move ranks between layers while it trains; lora is the nearest",
    "dora": "it does not train magnitudes beside directions; lora is the nearest",
    "ia3": "it trains matrices, not scales; lora is the nearest",
}


def check_method(name: str) -> None:
    """Raise ``UnknownName``, with the nearest or the reason, unless ``name`` is ``auto`` or a method."""
    if name in _LACKING and name not in known_methods():
        raise UnknownName(
            f"The trainer has no method '{name}': {_LACKING[name]}.",
            hint=f"Use one of {', '.join(known_methods())}, or auto.",
        )
    if name != "auto" and name not in known_methods():
        raise unknown_name("method", name, ("auto", *known_methods()))


def load_method(name: str) -> Method:
    """Read a method recipe. Raises ``UnknownName``."""
    check_method(name)
    data = tomllib.loads((HERE / "methods" / f"{name}.toml").read_text(encoding="utf-8"))
    return Method(name=name, **data)
