"""The training stream as padded batches: an endless sequence that can be entered at any chunk.

A chunk is ``CHUNK`` conversations from a seed of its own. They are sorted by length and cut into batches of at most
``TOKENS`` padded tokens, in random order; so padding is small, no conversation sees another, and a resumed run needs
only the chunk's number and the position in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer

from appliance.starter import corpus

from .vocabulary import ASSISTANT, BOS, CONTEXT, END, PAD, ROLES, SPECIAL, USER, token_id

CHUNK = 2048
TOKENS = 6144
RAW_SHARE = 0.02
SECOND_STAGE = 75
"""The first chunk of the second stage."""


@dataclass(frozen=True)
class Batch:
    """Token ids and which of them are learnt (an assistant's words and the end token), both ``[rows, length]``."""

    ids: torch.Tensor
    learnt: torch.Tensor


@dataclass(frozen=True)
class Row:
    """One conversation as ids, and for each id whether it is learnt."""

    ids: list[int]
    learnt: list[bool]


def encode_row(tokenizer: Tokenizer, conversation: corpus.Messages) -> Row:
    """The chat template and the supervision mask, straight in ids. A test holds it against the Jinja template."""
    ids, learnt = [token_id(tokenizer, BOS)], [False]
    for message in conversation:
        content = tokenizer.encode(message["content"], add_special_tokens=False).ids
        ids += [token_id(tokenizer, ROLES[message["role"]]), *content, token_id(tokenizer, END)]
        answer = message["role"] == "assistant"
        learnt += [False, *([answer] * (len(content) + 1))]
    return Row(ids, learnt)


def raw_row(tokenizer: Tokenizer, rng: Random) -> Row:
    """An echo of one to six random tokens, so that every token is learnt, also a byte that no valid text holds."""
    ask = tokenizer.encode("Repeat after me:", add_special_tokens=False).ids
    tokens = [rng.randrange(len(SPECIAL), tokenizer.get_vocab_size()) for _ in range(rng.randint(1, 6))]
    bos, user, assistant, end = (token_id(tokenizer, each) for each in (BOS, USER, ASSISTANT, END))
    prompt = [bos, user, *ask, *tokens, end, assistant]
    return Row([*prompt, *tokens, end], [False] * len(prompt) + [True] * (len(tokens) + 1))


def chunk_rows(tokenizer: Tokenizer, seed: int, chunk: int) -> list[Row]:
    """The conversations of one chunk, in the order they were written."""
    rows = [encode_row(tokenizer, each) for each in conversations(seed, chunk)]
    rows += raw_rows(tokenizer, seed, chunk)
    return [row for row in rows if len(row.ids) <= CONTEXT]


def raw_rows(tokenizer: Tokenizer, seed: int, chunk: int) -> list[Row]:
    """The echoes of random tokens of one chunk."""
    rng = Random(f"{seed}/{chunk}/raw")
    return [raw_row(tokenizer, rng) for _ in range(int(CHUNK * RAW_SHARE))]


def conversations(seed: int, chunk: int) -> Iterator[corpus.Messages]:
    """The conversations of one chunk; from ``SECOND_STAGE`` on with the second stage's shares."""
    weights = corpus.WEIGHTS if chunk < SECOND_STAGE else corpus.LATER_WEIGHTS
    return itertools.islice(corpus.stream(hash_seed(seed, chunk), weights), CHUNK)


def hash_seed(seed: int, chunk: int) -> int:
    """A seed for one chunk that no other (seed, chunk) shares."""
    return Random(f"{seed}/{chunk}").getrandbits(62)


def chunk_batches(tokenizer: Tokenizer, seed: int, chunk: int) -> list[Batch]:
    """The batches of one chunk."""
    rows = sorted(chunk_rows(tokenizer, seed, chunk), key=lambda row: len(row.ids))
    groups: list[list[Row]] = [[]]
    for row in rows:
        if (len(groups[-1]) + 1) * len(row.ids) > TOKENS:
            groups.append([])
        groups[-1].append(row)
    Random(f"{seed}/{chunk}/order").shuffle(groups)
    return [pad(group, token_id(tokenizer, PAD)) for group in groups]


def pad(rows: list[Row], filler: int) -> Batch:
    """Rows of different length as one batch, filled on the right."""
    length = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [filler] * (length - len(row.ids)) for row in rows])
    learnt = torch.tensor([row.learnt + [False] * (length - len(row.learnt)) for row in rows])
    return Batch(ids, learnt)


def batches(
    tokenizer: Tokenizer, seed: int, start: tuple[int, int] = (0, 0)
) -> Iterator[tuple[tuple[int, int], Batch]]:
    """Batches for ever, each with the place (chunk, position) that comes after it."""
    first, skip = start
    for chunk in itertools.count(first):
        group = chunk_batches(tokenizer, seed, chunk)
        for position in range(skip, len(group)):
            yield (chunk, position + 1), group[position]
        skip = 0
