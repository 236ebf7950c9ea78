"""From the turns of a row to one typed example, with everything odd about it named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from appliance.data.example import Example, Message
from appliance.data.formats.layout import Converted
from appliance.data.likeness import prompt_key
from appliance.data.rows import RowFault

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][\w. ]{0,40}\}\}")


class NothingToLearn(RowFault):
    """A row without an answer that is to be learnt."""


@dataclass(frozen=True)
class Checked:
    """A row that is an example."""

    example: Example
    fixed: tuple[str, ...] = ()
    """What was changed about it."""
    notes: tuple[str, ...] = ()
    """Codes of what is odd about it and was left as it is."""


def normalise(row: int, converted: Converted) -> Checked:
    """The example of a row. Raises ``NothingToLearn`` and ``RowFault``."""
    if converted.text is not None:
        text, fixed = _clean(converted.text)
        if not text.strip():
            raise NothingToLearn("empty-text", "has no text")
        notes = ("placeholder",) if _PLACEHOLDER.search(text) else ()
        example = Example(row=row, text=text)
        return Checked(replace(example, group=prompt_key(example)), ("lone-surrogate",) if fixed else (), notes)
    messages, fixes = _repaired(converted.messages)
    _check_turns(messages)
    example = Example(row=row, messages=tuple(messages), tools=converted.tools)
    return Checked(replace(example, group=prompt_key(example)), tuple(fixes), tuple(_oddities(messages)))


def _repaired(messages: tuple[Message, ...]) -> tuple[list[Message], list[str]]:
    """The turns without what certainly nobody wanted."""
    fixes = []
    cleaned = [_clean_message(message) for message in messages]
    if any(changed for _, changed in cleaned):
        fixes.append("lone-surrogate")
    kept = [message for message, _ in cleaned if message.role != "system" or message.content.strip()]
    if len(kept) < len(cleaned):
        fixes.append("empty-system-turn")
    while kept and kept[-1].role != "assistant" and any(message.role == "assistant" for message in kept):
        kept.pop()
        if "unanswered-end" not in fixes:
            fixes.append("unanswered-end")
    return kept, fixes


def _check_turns(messages: list[Message]) -> None:
    if not messages:
        raise RowFault("no-turns", "has no turns")
    for place, message in enumerate(messages, 1):
        if message.role == "user" and not message.content.strip():
            raise RowFault("empty-turn", f"turn {place}, the user's, is empty")
    answers = [message for message in messages if message.role == "assistant"]
    if not answers:
        raise NothingToLearn("missing-answer", "has no turn of the assistant")
    if not answers[-1].content.strip() and not answers[-1].tool_calls:
        raise NothingToLearn("missing-answer", "has an empty answer")
    for place, message in enumerate(messages, 1):
        if message.role == "assistant" and not message.content.strip() and not message.tool_calls:
            raise RowFault("empty-turn", f"turn {place}, the assistant's, is empty")
    if not any(message.learnt for message in messages):
        raise NothingToLearn("no-weight", "has no answer of a weight other than 0")
    if all(message.role in ("assistant", "system") for message in messages):
        raise RowFault("missing-prompt", "has an answer and nothing that was asked")


def _oddities(messages: list[Message]) -> Iterator[str]:
    roles = [message.role for message in messages]
    if roles.count("system") > 1:
        yield "doubled-system-turn"
    elif "system" in roles[1:]:
        yield "late-system-turn"
    spoken = [role for role in roles if role != "system"]
    if spoken[0] != "user":
        yield "starts-without-user"
    if any(first == second and first in ("user", "assistant") for first, second in pairwise(spoken)):
        yield "roles-not-alternating"
    if any(_PLACEHOLDER.search(message.content) for message in messages):
        yield "placeholder"


def _clean_message(message: Message) -> tuple[Message, bool]:
    content, changed = _clean(message.content)
    calls = tuple(_clean_value(call) for call in message.tool_calls)
    if not changed and calls == message.tool_calls:
        return message, False
    return replace(message, content=content, tool_calls=calls), True


def _clean(text: str) -> tuple[str, bool]:
    """Lone surrogates cannot be written as UTF-8: they become U+FFFD."""
    if text.isascii():
        return text, False
    cleaned = _SURROGATE.sub("\ufffd", text)
    return cleaned, cleaned != text


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)[0]
    if isinstance(value, dict):
        return {_clean_value(key): _clean_value(part) for key, part in value.items()}
    return [_clean_value(part) for part in value] if isinstance(value, list) else value
