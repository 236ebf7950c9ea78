"""ShareGPT's layout: ``conversations`` of from and value, or of pairs of human and assistant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, is_list, list_of, text_of, tools_of
from appliance.data.formats.turns import turn
from appliance.data.rows import RowFault


def _fits(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, dict) and ("from" in part or "human" in part) for part in value)
    return is_list(value) and ('"from"' in value or '"human"' in value)


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The turns with their roles as everybody names them."""
    turns = list_of(row, mapping, "conversations")
    if turns is None:
        raise RowFault("missing-value", f"'{mapping['conversations']}' is missing")
    messages: list[Message] = []
    system = text_of(row, mapping, "system")
    if system:
        messages.append(Message(role="system", content=system))
    for place, data in enumerate(turns, 1):
        if isinstance(data, dict) and "human" in data and "from" not in data:
            for role, key in (("user", "human"), ("assistant", "assistant")):
                messages.append(turn({"role": role, "content": data.get(key)}, place))
        else:
            messages.append(turn(data, place, role_key="from", content_key="value"))
    return Converted(messages=tuple(messages), tools=tools_of(row, mapping))


FORMAT = Format(
    "sharegpt",
    (
        Field("conversations", ("conversations", "conversation", "messages", "dialog", "dialogue"), fits=_fits),
        Field("tools", ("tools", "functions"), required=False, fits=is_list),
        Field("system", ("system", "system_prompt"), required=False),
    ),
    convert,
    forbids=("chosen", "rejected", "rejected_response"),
)
