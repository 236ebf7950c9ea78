"""What a trained model is asked before it is exported: its own held-out rows, and text that is hard to tokenise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.data.example import Example, as_dicts, read_examples

_ROWS = 6
_OPENING_WORDS = 12
# Characters that vocabularies without bytes do not have, scripts without spaces, and code.
_HARD = ("=", "+", "ü", "🙂", "Say = + ü 🙂 日本語 twice.", "if x == 1:\n\treturn {'a': [2]}")
_PLAIN = ("Once upon a time", "The", "1 + 1 = ü 🙂")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A conversation or a plain text to be continued."""

    name: str
    messages: tuple[Mapping[str, Any], ...] = ()
    text: str = ""


def held_out(dataset: Path | None) -> list[Example]:
    """The first rows the model was not trained on; of a dataset that holds none out, the first it was."""
    if dataset is None:
        return []
    for split in ("test", "validation", "train"):
        file = dataset / f"{split}.jsonl"
        if file.is_file():
            rows = [example for example, _ in zip(read_examples(file), range(_ROWS), strict=False)]
            if rows:
                return rows
    return []


def choose_prompts(examples: list[Example]) -> list[Prompt]:
    """The prompts that answers are compared on."""
    prompts = [prompt for example in examples if (prompt := _prompt(example)) is not None]
    prompts += [Prompt(name=f"the message {text!r}", messages=({"role": "user", "content": text},)) for text in _HARD]
    return prompts + [Prompt(name=f"the text {text!r}", text=text) for text in _PLAIN]


def _prompt(example: Example) -> Prompt | None:
    name = f"row {example.row}"
    if example.text is not None:
        opening = " ".join(example.text.split()[:_OPENING_WORDS])
        return Prompt(name=name, text=opening) if opening else None
    before, answer = example.split_answer()
    if answer is None or not before or example.tools:
        return None
    return Prompt(name=name, messages=tuple(as_dicts(before)))
