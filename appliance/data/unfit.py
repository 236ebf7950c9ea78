"""Layouts that are known and cannot be trained on here: each is named, with what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import DataRejected

LEARNT = "Luthier learns answers (messages, instructions, questions, labels) and plain text."
_PREFERENCE = {
    *("chosen", "rejected", "chosen_response", "rejected_response", "chosen_messages", "rejected_messages"),
    *("response_j", "response_k"),
}
_ANSWERS = {"completion", "response", "output", "answer", "messages", "conversations"}
_PROMPTS = {"prompt", "question", "query", "instruction", "problem"}
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Layout:
    name: str
    found: Callable[[set[str], Rows], set[str]]
    """The columns that show it, or none."""
    hint: str


def refuse_unfit(columns: Sequence[str], samples: Rows, name: str) -> None:
    """Raise ``DataRejected`` when the columns mean something that cannot be learnt as answers."""
    _refuse(_LAYOUTS, columns, samples, name)


def refuse_unanswered(columns: Sequence[str], samples: Rows, name: str) -> None:
    """Raise ``DataRejected`` when no format fits because nothing is answered."""
    _refuse(_UNANSWERED, columns, samples, name)


def _refuse(layouts: Sequence[_Layout], columns: Sequence[str], samples: Rows, name: str) -> None:
    for layout in layouts:
        shown = layout.found(set(columns), samples)
        if shown:
            raise DataRejected(
                f"{name} holds {layout.name} ({', '.join(sorted(shown))}), and that cannot be trained on. {LEARNT}",
                hint=layout.hint,
                where=name,
            )


def _preference(columns: set[str], _samples: Rows) -> set[str]:
    return columns & _PREFERENCE


def _unpaired(columns: set[str], samples: Rows) -> set[str]:
    if "kto_tag" in columns:
        return {"kto_tag"}
    judged = [sample["label"] for sample in samples if sample.get("label") is not None]
    answered = columns & _ANSWERS
    if answered and judged and all(isinstance(value, bool) or value in ("True", "False") for value in judged):
        return {"label"} | answered
    return set()


def _stepwise(columns: set[str], _samples: Rows) -> set[str]:
    return {"completions", "labels"} if {"completions", "labels"} <= columns else set()


def _tokenised(columns: set[str], samples: Rows) -> set[str]:
    ids = next((sample["input_ids"] for sample in samples if sample.get("input_ids") is not None), None)
    return {"input_ids"} if isinstance(ids, list | str) and not columns & (_ANSWERS | {"text"}) else set()


def _segments(columns: set[str], samples: Rows) -> set[str]:
    parts = next((sample["segments"] for sample in samples if sample.get("segments")), None)
    fits = isinstance(parts, list) and all(isinstance(part, dict) and "text" in part for part in parts)
    return {"segments"} if fits and not columns & _ANSWERS else set()


def _only_asked(columns: set[str], samples: Rows) -> set[str]:
    texts = {column for column in columns for sample in samples[:20] if isinstance(sample.get(column), str)}
    return texts if len(texts) == 1 and texts <= _PROMPTS else set()


_CHOSEN = "To learn the chosen answers, name them: --map prompt=COLUMN --map completion=COLUMN"
_GOOD = "To learn from the good ones, leave the others out and take that column away."
_LAYOUTS = (
    _Layout("preference pairs", _preference, _CHOSEN),
    _Layout("answers judged good or bad (unpaired preference)", _unpaired, _GOOD),
    _Layout("judged steps", _stepwise, "Join the good steps to one answer: columns prompt and completion."),
    _Layout("tokens of another tokenizer", _tokenised, "Give the text they were made of."),
    _Layout(
        "segments with a mask", _segments, 'Write them as messages, with "weight": 0 for what is not to be learnt.'
    ),
)
_UNANSWERED = (
    _Layout(
        "prompts without answers", _only_asked, "Add a column with the answers, or learn it as text: --map text=COLUMN"
    ),
)
