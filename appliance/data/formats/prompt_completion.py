"""A prompt and its completion, as texts or as turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, is_list, is_text, required_text, text_of
from appliance.data.formats.turns import turn


def _fits(value: Any) -> bool:
    return is_text(value) or is_list(value) or isinstance(value, dict)


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The prompt is asked, the completion answered."""
    system = text_of(row, mapping, "system")
    messages = [Message(role="system", content=system)] if system else []
    messages += _turns(row, mapping, "prompt", "user")
    messages += _turns(row, mapping, "completion", "assistant")
    return Converted(messages=tuple(messages))


def _turns(row: Row, mapping: Mapping[str, str], name: str, role: str) -> list[Message]:
    value = row.get(mapping[name])
    if isinstance(value, list | dict):
        return [_turn(data, place) for place, data in enumerate([value] if isinstance(value, dict) else value, 1)]
    if name == "completion":
        return [Message(role=role, content=text_of(row, mapping, name) or "")]
    return [Message(role=role, content=required_text(row, mapping, name))]


def _turn(data: Any, place: int) -> Message:
    named = isinstance(data, dict) and "from" in data
    return turn(data, place, role_key="from", content_key="value") if named else turn(data, place)


FORMAT = Format(
    "prompt-completion",
    (
        Field("prompt", ("prompt", "input", "source", "inputs", "article", "document", "context"), fits=_fits),
        Field(
            "completion",
            ("completion", "output", "response", "generation", "target", "continuation", "summary", "targets"),
            fits=_fits,
        ),
        Field("system", ("system", "system_prompt"), required=False),
    ),
    convert,
    weight=0.95,
    forbids=("chosen", "rejected", "label", "instruction", "test"),
)
