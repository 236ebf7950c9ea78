"""The body of a request as a JSON object."""

from __future__ import annotations

import json
import re
from typing import Any

from serving.openai.errors import invalid

DEPTH = 32
# A text (also one that never ends), or a bracket. Possessive, so that it takes linear time.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object, not nested deeper than ``DEPTH``. Raises ``ApiError``."""
    if _is_deep(body):
        raise invalid(f"The body is nested deeper than {DEPTH} levels.", code="invalid_json")
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.", code="invalid_json")
    return value


def _is_deep(body: bytes) -> bool:
    """Whether brackets outside texts nest too deep; a parser must not have to find out by recursion."""
    depth = 0
    for match in _TOKEN.finditer(body):
        bracket = match[0]
        if bracket in (b"[", b"{"):
            depth += 1
            if depth > DEPTH:
                return True
        elif bracket in (b"]", b"}"):
            depth -= 1
    return False


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")
