"""A question and its answer, under any of the names people give them, with a context where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.example import Message
from appliance.data.formats.layout import Converted, Field, Format, Row, is_text, required_text, text_of
from appliance.data.rows import RowFault


def convert(row: Row, mapping: Mapping[str, str]) -> Converted:
    """The context stands before the question, apart from it by an empty line."""
    question = required_text(row, mapping, "question")
    context = text_of(row, mapping, "context")
    system = text_of(row, mapping, "system")
    messages = [Message(role="system", content=system)] if system else []
    asked = f"{context}\n\n{question}" if context and context.strip() else question
    messages.append(Message(role="user", content=asked))
    messages.append(Message(role="assistant", content=_answer(row, mapping)))
    return Converted(messages=tuple(messages))


def _answer(row: Row, mapping: Mapping[str, str]) -> str:
    value = row.get(mapping["answer"])
    if isinstance(value, dict):
        # As SQuAD has it when it is a table: the texts of the answers, and where they begin.
        value = value.get("text")
    if isinstance(value, list):
        texts = [part for part in value if isinstance(part, str)]
        if len(texts) != len(value):
            raise RowFault("wrong-type", f"'{mapping['answer']}' holds a list of something else than texts")
        return texts[0] if texts else ""
    return text_of(row, mapping, "answer") or ""


def _fits(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("text"), list)
    return is_text(value) or (isinstance(value, list) and bool(value) and isinstance(value[0], str))


FORMAT = Format(
    "question-answer",
    (
        Field("question", ("question", "query", "user", "human", "instruction", "problem", "ask")),
        Field("answer", ("answer", "response", "assistant", "bot", "solution", "reply", "answers"), fits=_fits),
        Field("context", ("context", "passage", "background"), required=False),
        Field("system", ("system", "system_prompt"), required=False),
    ),
    convert,
    weight=0.95,
    forbids=("chosen", "rejected", "choices", "options"),
)
