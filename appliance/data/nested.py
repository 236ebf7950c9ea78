"""Rows with examples inside them: each inner one is a row of its own, on the line of the outer one.

Self-Instruct and Alpaca's seed tasks keep several inputs and outputs under one instruction; SQuAD and its relatives
keep articles of paragraphs of questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from appliance.data.rows import Row

_BOXES = ("instances", "paragraphs", "qas")


def flat(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with inner ones in the place of those that have some, numbered anew."""
    number = 0
    for row in rows:
        inner = _inner(row.value) if row.fault is None and isinstance(row.value, dict) else None
        if inner is None:
            number += 1
            yield row if row.number == number else replace(row, number=number)
            continue
        for value in inner:
            number += 1
            yield Row(number, row.line, value)


def _inner(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The examples inside a value; None when it is one itself, or holds something else than was expected."""
    name = next((name for name in _BOXES if _is_box(value.get(name))), None)
    if name is None:
        return None
    if name == "instances":
        outer = {key: part for key, part in value.items() if key != name}
        return [{**outer, **instance} for instance in value[name]]
    if name == "qas":
        return [_asked(question, value.get("context")) for question in value[name]]
    return [found for paragraph in value[name] for found in _inner(paragraph) or [paragraph]]


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _asked(question: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """A question of SQuAD with its context; without an answer where it has none."""
    answers = question.get("answers")
    texts = [answer.get("text") for answer in answers if isinstance(answer, dict)] if isinstance(answers, list) else []
    return {**question, "context": context, "answers": [text for text in texts if isinstance(text, str)][:1]}
