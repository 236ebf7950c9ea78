"""Alpaca's layout: an instruction, what it is about, and what to write; earlier exchanges in ``history``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, list_of, required_text, text_of
from appliance.data.rows import RowFault


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """Instruction and input are one question, on two lines; earlier answers are learnt too."""
    instruction = required_text(row, mapping, "instruction")
    about = text_of(row, mapping, "input")
    question = f"{instruction}\n{about}" if about and about.strip() else instruction
    messages: list[Message] = []
    system = text_of(row, mapping, "system")
    if system:
        messages.append(Message(role="system", content=system))
    for asked, answered in _history(row, mapping):
        messages += [Message(role="user", content=asked), Message(role="assistant", content=answered)]
    messages.append(Message(role="user", content=question))
    messages.append(Message(role="assistant", content=text_of(row, mapping, "output") or ""))
    return Converted(messages=tuple(messages))


def _history(row: Row, mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs = list_of(row, mapping, "history") or []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise RowFault("wrong-type", "'history' holds something else than pairs of two texts")
    return [(asked, answered) for asked, answered in pairs]


def _pairs(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))


FORMAT = Format(
    "alpaca",
    (
        Field("instruction", ("instruction", "instructions")),
        Field("output", ("output", "response", "completion", "answer", "target")),
        Field("input", ("input", "context", "inputs"), required=False),
        Field("system", ("system", "system_prompt"), required=False),
        Field("history", ("history",), required=False, fits=_pairs),
    ),
    convert,
    forbids=("chosen", "rejected", "chosen_response", "rejected_response"),
)
