"""A text and its label; the label is what the model learns to answer."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, required_text, text_of


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The text is asked, the label answered."""
    asked = Message(role="user", content=required_text(row, mapping, "text"))
    answered = Message(role="assistant", content=text_of(row, mapping, "label") or "")
    return Converted(messages=(asked, answered))


FORMAT = Format(
    "classification",
    (
        Field("text", ("text", "sentence", "utterance", "review", "content")),
        Field("label", ("label", "category", "class", "intent", "sentiment", "label_text")),
    ),
    convert,
    weight=0.9,
    forbids=("chosen", "rejected", "completion", "response", "answer", "output"),
)
