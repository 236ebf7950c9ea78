"""Plain text: every token of it is learnt."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.data.formats.layout import Converted, Field, Format, Row, required_text


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The text as it is."""
    return Converted(text=required_text(row, mapping, "text"))


FORMAT = Format(
    "text",
    (Field("text", ("text", "content", "document", "body")),),
    convert,
    weight=0.8,
    forbids=(
        *("chosen", "rejected", "completion", "response", "answer", "output", "prompt", "instruction", "question"),
        *("label", "category", "messages", "conversations"),
    ),
)
