"""JSON as its standard has it: no NaN, no repeated keys, no nesting without end."""

from __future__ import annotations

import json
import math
from typing import Any

from appliance.data.rows import Fault, RowFault
from appliance.text import safe_text

DEPTH_LIMIT = 64
"""Deepest nesting of objects and arrays."""


class StrictDecoder:
    """Decodes untrusted JSON, and remembers the keys that occurred twice in one object.

    The standard lets a key occur twice and does not say which counts: the last does here, and the row is refused.
    """

    def __init__(self) -> None:
        self._repeated: str | None = None
        self._decoder = json.JSONDecoder(parse_constant=_constant, parse_float=_float, object_pairs_hook=self._object)

    def decode(self, text: str) -> Any:
        """The value of a whole text. Raises what ``json`` raises, and ``ValueError`` for NaN and numbers too large."""
        return self._decoder.decode(text)

    def decode_at(self, text: str, place: int) -> tuple[Any, int]:
        """The value that begins at ``place`` and where it ends."""
        return self._decoder.raw_decode(text, place)

    def take_fault(self) -> Fault | None:
        """The fault of what was decoded since the last call, if a key occurred twice in it."""
        key, self._repeated = self._repeated, None
        return None if key is None else Fault("repeated-key", f"has the key '{safe_text(key, limit=40)}' twice")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            keys = [key for key, _ in pairs]
            self._repeated = next(key for place, key in enumerate(keys) if key in keys[:place])
        return value


def parse_json(text: str, decoder: StrictDecoder | None = None) -> Any:
    """The value of a JSON text. Raises ``RowFault`` with the place in the text."""
    try:
        value = (decoder or StrictDecoder()).decode(text)
    except RecursionError:
        raise too_deep() from None
    except json.JSONDecodeError as error:
        raise RowFault("bad-json", _words(error)) from None
    except ValueError as error:
        raise RowFault("bad-json", f"is not JSON: {safe_text(error, limit=120)}") from None
    check_depth(value, text)
    return value


def check_depth(value: Any, text: str) -> None:
    """Refuse what is nested too deeply. Raises ``RowFault``."""
    if text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return
    layer = [value]
    for _ in range(DEPTH_LIMIT):
        inner: list[Any] = []
        for part in layer:
            if isinstance(part, dict):
                inner += part.values()
            elif isinstance(part, list):
                inner += part
        layer = [part for part in inner if isinstance(part, dict | list)]
        if not layer:
            return
    raise too_deep()


def too_deep() -> RowFault:
    """The fault of a value nested beyond the limit."""
    return RowFault("too-deep", f"is nested deeper than {DEPTH_LIMIT} levels")


def _words(error: json.JSONDecodeError) -> str:
    place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
    return f"is not JSON: {error.msg.removesuffix(' at')} at {place}"


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
