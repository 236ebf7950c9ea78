"""Turns of a conversation, from the objects that files hold for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import kind_of
from appliance.data.json_text import parse_json
from appliance.data.rows import RowFault
from appliance.text import safe_text

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
_CALLS = ("function_call", "tool_call")
_WEIGHTS = ("weight", "loss_weight", "loss_scale", "loss", "train")


def turn(data: Any, place: int, *, role_key: str = "role", content_key: str = "content") -> Message:
    """One turn. Raises ``RowFault`` naming the turn."""
    if not isinstance(data, dict):
        raise RowFault("wrong-type", f"turn {place} is {kind_of(data)}, expected an object")
    said = data.get(role_key)
    role = ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        known = "system, user, assistant, tool"
        raise RowFault("unknown-role", f"turn {place} has the role {safe_text(repr(said), limit=60)}, expected {known}")
    content = _content(data.get(content_key), place)
    calls = _tool_calls(data.get("tool_calls"), place)
    if isinstance(said, str) and said.strip().lower() in _CALLS:
        calls, content = _called(content, place), ""
    return Message(
        role=role,
        content=content,
        weight=_weight(data, place) if role == "assistant" else None,
        name=data["name"] if isinstance(data.get("name"), str) and content_key == "content" else None,
        tool_calls=calls,
        tool_call_id=data["tool_call_id"] if isinstance(data.get("tool_call_id"), str) else None,
    )


def _content(value: Any, place: int) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return "".join(_part(part, place) for part in value)
    raise RowFault("wrong-type", f"turn {place} holds {kind_of(value)}, expected text")


def _part(part: Any, place: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") in ("text", None):
        text = part.get("text", part.get("value"))
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, dict) else kind_of(part)
    raise RowFault("not-text", f"turn {place} has a part of type {safe_text(repr(kind), limit=40)}, expected text")


def _weight(data: Mapping[str, Any], place: int) -> int | None:
    for key in _WEIGHTS:
        value = data.get(key)
        if value is None:
            continue
        if value in (0, 1):
            return int(value)
        raise RowFault("bad-weight", f"turn {place} has {key} {safe_text(repr(value), limit=40)}, expected 0 or 1")
    return None


def _tool_calls(value: Any, place: int) -> tuple[Mapping[str, Any], ...]:
    if not value:
        return ()
    if isinstance(value, str):
        value = parse_json(value)
    if not isinstance(value, list) or not all(isinstance(call, dict) for call in value):
        raise RowFault(
            "wrong-type", f"turn {place} has tool_calls that are {kind_of(value)}, expected a list of objects"
        )
    return tuple(_call(call, place) for call in value)


def _call(data: Mapping[str, Any], place: int) -> Mapping[str, Any]:
    """A call in OpenAI's form with its arguments as an object, which is what chat templates expect."""
    function = data.get("function", data)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowFault("bad-tool-call", f"turn {place} calls a tool without a name")
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = parse_json(arguments) if arguments.strip() else {}
    call: dict[str, Any] = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    if isinstance(data.get("id"), str):
        call["id"] = data["id"]
    return call


def _called(content: str, place: int) -> tuple[Mapping[str, Any], ...]:
    value = parse_json(content)
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(isinstance(call, dict) for call in calls):
        raise RowFault("bad-tool-call", f"turn {place} calls a tool with {kind_of(value)}, expected an object")
    return tuple(_call(call, place) for call in calls)
