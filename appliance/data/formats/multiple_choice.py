"""A question, what could be answered, and which of it is right: the right one is what the model learns to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, list_of, required_text
from appliance.data.rows import RowFault
from appliance.text import safe_text


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The question as it stands is asked, and the right choice answered; the others are not shown."""
    choices = list_of(row, mapping, "choices") or []
    if not all(isinstance(choice, str) for choice in choices):
        raise RowFault("wrong-type", f"'{mapping['choices']}' holds something else than texts")
    asked = Message(role="user", content=required_text(row, mapping, "question"))
    answered = Message(role="assistant", content=choices[_right(row.get(mapping["right"]), len(choices))])
    return Converted(messages=(asked, answered))


def _right(value: Any, count: int) -> int:
    """The place of the right choice: counted from 0, or a letter."""
    place: Any = value
    if isinstance(value, str):
        letter = value.strip().upper()
        place = int(letter) if letter.isdecimal() else ord(letter) - ord("A") if len(letter) == 1 else -1
    if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < count:
        raise RowFault("bad-choice", f"names the choice {safe_text(repr(value), limit=40)} of {count}")
    return place


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(part, str) for part in value)


def _place(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and len(value) <= 2)


FORMAT = Format(
    "multiple-choice",
    (
        Field("question", ("question", "query", "prompt", "goal")),
        Field("choices", ("choices", "options", "endings"), fits=_texts),
        Field("right", ("right", "gold", "answer", "label", "answer_index", "correct"), fits=_place),
    ),
    convert,
    forbids=("chosen", "rejected", "completion", "response", "output"),
)
