"""OpenAI's layout: ``messages`` of role and content, with tool calls, tools and weights of single messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, is_list, kind_of, list_of, text_of, tools_of
from appliance.data.formats.turns import turn
from appliance.data.rows import RowFault


def _fits(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, dict) and "role" in part for part in value)
    return is_list(value) and '"role"' in value


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The turns as they are."""
    turns = list_of(row, mapping, "messages")
    if turns is None:
        raise RowFault("missing-value", f"'{mapping['messages']}' is missing")
    if not isinstance(turns, list):
        raise RowFault("wrong-type", f"'{mapping['messages']}' is {kind_of(turns)}, expected a list")
    messages = [turn(data, place) for place, data in enumerate(turns, 1)]
    system = text_of(row, mapping, "system")
    if system:
        messages.insert(0, Message(role="system", content=system))
    return Converted(messages=tuple(messages), tools=tools_of(row, mapping))


FORMAT = Format(
    "messages",
    (
        Field("messages", ("messages", "conversations", "conversation", "dialog", "dialogue", "chat"), fits=_fits),
        Field("tools", ("tools", "functions"), required=False, fits=is_list),
        Field("system", ("system", "system_prompt"), required=False),
    ),
    convert,
    forbids=("chosen", "rejected", "rejected_response"),
)
