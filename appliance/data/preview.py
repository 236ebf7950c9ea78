"""An example as the tokens the model is shown, each with whether it is learnt."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.data.chat import IGNORED, ChatTemplate, Tokenizer, encode_example
from appliance.data.example import Example


@dataclass(frozen=True)
class Piece:
    """One token, or the tokens that together make one character."""

    text: str
    learnt: bool
    ids: tuple[int, ...]


def preview(example: Example, tokenizer: Tokenizer, template: ChatTemplate) -> list[tuple[str, bool]]:
    """The pieces of an example as (text, learnt), in order. Raises ``TemplateRefused``."""
    return [(piece.text, piece.learnt) for piece in pieces(example, tokenizer, template)]


def pieces(example: Example, tokenizer: Tokenizer, template: ChatTemplate) -> list[Piece]:
    """The same with the ids. A token that is a part of a character is shown with the rest of it."""
    encoded = encode_example(example, tokenizer, template)
    found: list[Piece] = []
    waiting: list[int] = []
    for id_, label in zip(encoded.ids, encoded.labels, strict=True):
        waiting.append(id_)
        text = _text(waiting, tokenizer)
        if text.endswith("\ufffd") and len(waiting) < 4:
            continue
        found.append(Piece(text, label != IGNORED, tuple(waiting)))
        waiting = []
    if waiting:
        found.append(Piece(_text(waiting, tokenizer), encoded.labels[-1] != IGNORED, tuple(waiting)))
    return found


def _text(ids: list[int], tokenizer: Tokenizer) -> str:
    """What tokens say in the middle of a text, where a leading space is not taken away."""
    if len(ids) == 1 and ids[0] in tokenizer.control_ids:
        return tokenizer.token_of(ids[0])
    return tokenizer.text_within(ids)
