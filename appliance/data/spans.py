"""Which part of a rendered conversation is learnt.

A chat template is a program, so where an answer lies in its output is found by asking it: the conversation up to
the answer, with the words that invite it, and the conversation with it are both beginnings of the whole. Where a
template writes earlier turns differently once later ones follow, the answer is replaced by a marker and looked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Protocol

from appliance.data.tokenizer import Span, Tokenizer, Tokens
from appliance.errors import InvalidBaseModel, LuthierError

IGNORED = -100
"""The label of a token that is not learnt, as PyTorch's cross entropy has it."""
_MARK = "\ue5a1LUTHIER\ue5a2"


class Render(Protocol):
    """``ChatTemplate.render``."""

    def __call__(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str: ...


@dataclass(frozen=True)
class Encoded:
    """An example as tokens; ``labels`` is as long as ``ids`` and holds -100 where nothing is learnt."""

    ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """The number of learnt tokens."""
        return sum(label != IGNORED for label in self.labels)


def learnt_spans(
    render: Render,
    messages: Sequence[Mapping[str, Any]],
    learnt: Sequence[int],
    tools: Sequence[Mapping[str, Any]] | None,
) -> tuple[str, list[Span]]:
    """The rendered conversation, and where in it the turns with the indices ``learnt`` lie, in characters."""
    whole = render(messages, tools)
    spans = []
    for index in learnt:
        span = _by_beginnings(render, messages, index, (tools, whole)) or _by_mark(
            render, messages, index, (tools, whole)
        )
        if span is None:
            raise InvalidBaseModel(
                f"The chat template does not show what the assistant says in turn {index + 1}.",
                hint="Choose another base model, or replace its chat_template.jinja.",
            )
        spans.append(span)
    return whole, spans


def supervise(text: str, spans: Sequence[Span], tokenizer: Tokenizer, *, ends_learnt: bool) -> Encoded:
    """Tokenise ``text`` and label what lies in ``spans``, in order; ``ends_learnt``: the last turn is learnt."""
    tokens = _cut_at(text, [start for start, _ in spans], tokenizer)
    labels = [IGNORED] * len(tokens.ids)
    end = 0
    for start, stop in spans:
        first, end = _token_range(tokens, start, stop, tokenizer)
        labels[first:end] = tokens.ids[first:end]
    ids = list(tokens.ids)
    if ends_learnt and (not end or ids[end - 1] not in tokenizer.control_ids):
        if tokenizer.eos_id is None:
            raise no_end_token()
        ids, labels = [*ids[:end], tokenizer.eos_id], [*labels[:end], tokenizer.eos_id]
    masked = [IGNORED if label == tokenizer.unknown_id else label for label in labels]
    return Encoded(ids, masked)


def _cut_at(text: str, starts: Sequence[int], tokenizer: Tokenizer) -> Tokens:
    """Tokenise ``text`` in pieces that begin where the answers begin.

    Generation starts behind the tokens of the invitation; a token that reaches from there into the answer would
    be learnt in training and never be met in use.
    """
    ids: list[int] = []
    spans: list[Span] = []
    edges = [0, *starts, len(text)]
    for begin, end in pairwise(edges):
        piece = tokenizer.encode_spans(text[begin:end], continuing=begin > 0)
        ids += piece.ids
        spans += [(begin + first, begin + last) for first, last in piece.spans]
    return Tokens(ids, spans)


def no_end_token() -> InvalidBaseModel:
    """The error for a tokenizer without an end token, where one is needed."""
    return InvalidBaseModel(
        "The tokenizer names no eos_token, so the model could never learn where an answer ends.",
        hint="Name the end token as eos_token in tokenizer_config.json.",
    )


def _by_beginnings(
    render: Render, messages: Sequence[Mapping[str, Any]], index: int, context: tuple[Any, str]
) -> Span | None:
    tools, whole = context
    try:
        before = render(messages[:index], tools, add_generation_prompt=True)
        after = whole if index == len(messages) - 1 else render(messages[: index + 1], tools)
    except LuthierError:
        return None
    if not whole.startswith(before) or not whole.startswith(after) or len(after) <= len(before):
        return None
    return len(before), len(after)


def _by_mark(
    render: Render, messages: Sequence[Mapping[str, Any]], index: int, context: tuple[Any, str]
) -> Span | None:
    tools, whole = context
    marked = [dict(message) for message in messages]
    marked[index]["content"] = _MARK
    head, mark, tail = render(marked, tools).partition(_MARK)
    if not mark or _MARK in tail or not whole.startswith(head) or not whole.endswith(tail):
        return None
    return (len(head), len(whole) - len(tail)) if len(head) + len(tail) <= len(whole) else None


def _token_range(tokens: Tokens, start: int, stop: int, tokenizer: Tokenizer) -> tuple[int, int]:
    """The tokens of one answer, from the first that begins in it to the one that ends the turn.

    White space that a template writes after the end token is left out; an end token that follows the answer
    directly, or after white space, is taken in.
    """
    first = bisect_left(tokens.spans, start, key=itemgetter(0))
    end = bisect_left(tokens.spans, stop, lo=first, key=itemgetter(0))
    last = end
    while last > first:
        if tokens.ids[last - 1] in tokenizer.control_ids:
            return first, last
        if tokenizer.decode([tokens.ids[last - 1]]).strip():
            break
        last -= 1
    for follow in range(end, min(end + 3, len(tokens.ids))):
        if tokens.ids[follow] in tokenizer.control_ids:
            return first, follow + 1
        if tokenizer.decode([tokens.ids[follow]]).strip():
            break
    return first, max(last, first)
