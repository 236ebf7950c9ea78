"""How long an example is in tokens, and what becomes of one that is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.data.chat import (
    ChatTemplate,
    Encoded,
    TemplateRefused,
    Tokenizer,
    encode_example,
    load_template,
    load_tokenizer,
)
from appliance.data.example import Example, Message
from appliance.data.rows import Fault, RowFault
from appliance.data.tokenizer import read_json
from appliance.spec import OverLength

_LEAST_ANSWER = 16
"""Fewest tokens of an answer that may be left by truncation."""
_LIMIT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")


@dataclass(frozen=True)
class Fitted:
    """An example that fits, or the pieces it was made into."""

    pieces: tuple[tuple[Example, Encoded], ...]
    fixed: str | None = None


class TooLong(Exception):
    """An example that does not fit and is not to be made to."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"{tokens} tokens")
        self.tokens = tokens


class Unlearnable(RowFault):
    """An example of which the model would learn nothing but its end."""


@dataclass(frozen=True)
class Ruler:
    """A base model's tokenizer and template, the longest example it takes, and the policy for longer ones."""

    tokenizer: Tokenizer
    template: ChatTemplate
    limit: int | None
    policy: OverLength

    def fit(self, example: Example) -> Fitted:
        """The example as tokens, whole or in pieces. Raises ``TooLong``, ``Unlearnable`` and ``RowFault``."""
        encoded = self._encode(example)
        self._check_learnable(example, encoded)
        if self.limit is None or len(encoded.ids) <= self.limit:
            return Fitted(((example, encoded),))
        if self.policy in ("stop", "drop"):
            raise TooLong(len(encoded.ids))
        pieces = self._texts(example) if example.text is not None else self._windows(example)
        if not pieces:
            raise TooLong(len(encoded.ids))
        if self.policy == "truncate":
            return Fitted((pieces[0],), "truncated")
        parts = tuple((replace(part, parent=example.row), tokens) for part, tokens in pieces)
        return Fitted(parts, f"split-into-{len(parts)}")

    def _encode(self, example: Example) -> Encoded:
        try:
            return encode_example(example, self.tokenizer, self.template)
        except TemplateRefused as error:
            raise RowFault(error.code, error.message) from None

    def _fits(self, example: Example) -> Encoded | None:
        encoded = self._encode(example)
        return encoded if self.limit is None or len(encoded.ids) <= self.limit else None

    def _check_learnable(self, example: Example, encoded: Encoded) -> None:
        ends = sum(label in self.tokenizer.special_ids for label in encoded.labels if label >= 0)
        if encoded.supervised <= ends:
            raise Unlearnable("no-token-for-answer", "has an answer in characters for which the tokenizer has no token")

    def _texts(self, example: Example) -> list[tuple[Example, Encoded]]:
        """Pieces of plain text, cut at white space where there is some near the end of a piece."""
        text = example.text or ""
        room = (self.limit or 0) - len(self.tokenizer.prefix_ids) - 1
        pieces: list[tuple[Example, Encoded]] = []
        while text.strip() and room > 0:
            piece, encoded = self._first_text(example, text, room)
            if encoded is None:
                return []
            pieces.append((piece, encoded))
            text = text[len(piece.text or "") :]
            if self.policy == "truncate":
                break
        return pieces

    def _first_text(self, example: Example, text: str, room: int) -> tuple[Example, Encoded | None]:
        spans = self.tokenizer.encode_spans(text).spans
        count = room
        while count > 0:
            cut = spans[count][0] if count < len(spans) else len(text)
            blank = max(text.rfind(white, cut // 2, cut) for white in (" ", "\n"))
            end = blank + 1 if cut < len(text) and blank > 0 else cut
            piece = replace(example, text=text[: max(end, 1)])
            encoded = self._fits(piece)
            if encoded is not None:
                return piece, encoded
            count -= max(1, count // 16)
        return example, None

    def _windows(self, example: Example) -> list[tuple[Example, Encoded]]:
        """Runs of whole exchanges that fit, each after the system turns; none when one exchange alone does not."""
        head, exchanges = _exchanges(example.messages)
        found: list[tuple[Example, Encoded]] = []
        start = 0
        while start < len(exchanges):
            best = None
            for end in range(start + 1, len(exchanges) + 1):
                turns = sum(exchanges[start:end], head)
                piece = replace(example, messages=turns)
                encoded = self._fits(piece) if any(turn.learnt for turn in turns) else None
                if encoded is None and best is not None:
                    break
                best = (piece, encoded, end) if encoded is not None else best
            if best is None or best[1] is None:
                return (
                    self._cut_answer(example, head + exchanges[0]) if self.policy == "truncate" and start == 0 else []
                )
            found.append((best[0], best[1]))
            start = best[2]
            if self.policy == "truncate":
                break
        return found

    def _cut_answer(self, example: Example, turns: tuple[Message, ...]) -> list[tuple[Example, Encoded]]:
        """One exchange with the end of its answer cut off, when enough of it is left to learn from."""
        place = next((index for index in range(len(turns) - 1, -1, -1) if turns[index].learnt), None)
        if place is None or place != len(turns) - 1:
            return []
        content = turns[place].content
        spans = self.tokenizer.encode_spans(content, continuing=True).spans
        excess = len(self._encode(replace(example, messages=turns)).ids) - (self.limit or 0)
        count = len(spans) - max(excess, 0)
        while count >= _LEAST_ANSWER:
            shorter = replace(turns[place], content=content[: spans[count][0] if count < len(spans) else len(content)])
            piece = replace(example, messages=(*turns[:place], shorter))
            encoded = self._fits(piece)
            if encoded is not None:
                return [(piece, encoded)]
            count -= max(1, count // 16)
        return []


def read_ruler(base: Path, sequence_length: int | None, policy: OverLength) -> Ruler:
    """The ruler of a base model folder. Raises ``InvalidBaseModel``."""
    longest = longest_input(base)
    known = [length for length in (sequence_length, longest) if length]
    return Ruler(load_tokenizer(base), load_template(base), min(known, default=None), policy)


def longest_input(base: Path) -> int | None:
    """The number of positions a base model has, as its config.json says; None when it does not."""
    config: dict[str, Any] = read_json(base / "config.json")
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for key in _LIMIT_KEYS:
            if isinstance(part.get(key), int) and part[key] > 0:
                return int(part[key])
    return None


def too_long(tokens: int, limit: int) -> Fault:
    """Why an example does not fit, for the ledger."""
    return Fault("over-length", f"has {tokens:,} tokens, at most {limit:,} fit")


def _exchanges(messages: Sequence[Message]) -> tuple[tuple[Message, ...], list[tuple[Message, ...]]]:
    """The system turns at the head, and the exchanges: each from what is asked to the last turn before the next."""
    first = next((index for index, message in enumerate(messages) if message.role != "system"), len(messages))
    exchanges: list[tuple[Message, ...]] = []
    for index in range(first, len(messages)):
        asked = messages[index].role == "user" and (index == first or messages[index - 1].role != "user")
        if asked or not exchanges:
            exchanges.append(())
        exchanges[-1] += (messages[index],)
    return tuple(messages[:first]), exchanges
