"""The generator of all the starter reads: an endless, seeded stream of conversations without held-out questions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from random import Random

from . import tales
from .heldout import is_held_out
from .skills import EXACT, Exchange, Writer, lookup

OPEN: dict[str, Writer] = {
    "story": tales.story,
    "introduction": tales.introduction,
    "echo": tales.echo,
    "lookup": lookup,
}
"""What is read without being one of the scored skills: open text, and what so small a model hardly learns."""

WEIGHTS = {
    "reverse": 14, "sort": 22, "copy": 8, "count": 8, "lookup": 9, "add": 16, "fact": 8, "talk": 5,
    "story": 4, "introduction": 2, "echo": 4,
}  # fmt: skip
"""Share of each writer at first, in parts of their sum."""
LATER_WEIGHTS = {
    "reverse": 8, "sort": 20, "copy": 5, "count": 4, "lookup": 16, "add": 14, "read": 26, "fact": 6, "talk": 3,
    "story": 4, "introduction": 1, "echo": 4,
}  # fmt: skip
"""Share in the second stage: what is learnt quickly makes room for what needs it, reading before all."""
REPLAYED = {
    "reverse": 180, "sort": 520, "copy": 180, "count": 100, "add": 160, "read": 480, "fact": 240, "talk": 140,
    "story": 40,
}  # fmt: skip
"""Rows of each writer in ``replay.jsonl``: most of what is forgotten first."""

Messages = list[dict[str, str]]


def exchange(rng: Random, skill: str, *, held_out: bool) -> Exchange:
    """One exchange of ``skill`` from the training side (``held_out=False``) or the evaluation side."""
    writer = EXACT.get(skill) or OPEN[skill]
    while True:
        question, answer = writer(rng)
        if is_held_out(question) == held_out:
            return Exchange(skill, question, answer)


def conversation(rng: Random, weights: Mapping[str, int]) -> list[Exchange]:
    """One to six exchanges of mixed skills; most conversations have one."""
    turns = 1 if rng.random() < 0.9 else rng.randint(2, 6)
    names = rng.choices(list(weights), list(weights.values()), k=turns)
    return [exchange(rng, name, held_out=False) for name in names]


def messages(exchanges: list[Exchange], system: str | None = None) -> Messages:
    """The exchanges as chat messages, after a system message if there is one."""
    rows: Messages = [] if system is None else [{"role": "system", "content": system}]
    for each in exchanges:
        rows.append({"role": "user", "content": each.question})
        rows.append({"role": "assistant", "content": each.answer})
    return rows


def stream(seed: int, weights: Mapping[str, int] = WEIGHTS) -> Iterator[Messages]:
    """The training text: conversations for ever, the same for the same seed on any machine."""
    rng = Random(seed)
    while True:
        system = rng.choice(tales.SYSTEMS) if rng.random() < 0.08 else None
        yield messages(conversation(rng, weights), system)


def _unique(seed: int, counts: Mapping[str, int], *, held_out: bool) -> list[Exchange]:
    """As many exchanges of each name as ``counts`` says, no question twice."""
    rows: list[Exchange] = []
    for name, count in counts.items():
        rng, seen = Random(f"{seed}/{name}/{held_out}"), set[str]()
        while len(seen) < count:
            item = exchange(rng, name, held_out=held_out)
            if item.question not in seen:
                seen.add(item.question)
                rows.append(item)
    return rows


def evaluation_items(names: Iterable[str] = tuple(EXACT), seed: int = 7, count: int = 36) -> list[Exchange]:
    """The held-out items of the named skills, by default of all that are scored by exact match."""
    return _unique(seed, dict.fromkeys(names, count), held_out=True)


def replay_items(seed: int = 11) -> list[Exchange]:
    """Training-side exchanges that keep the skills alive while something else is learnt, in a fixed random order."""
    rows = _unique(seed, REPLAYED, held_out=False)
    Random(seed).shuffle(rows)
    return rows


def evaluation_line(item: Exchange) -> str:
    """One line of ``skills.jsonl``."""
    row = {"skill": item.skill, "messages": [{"role": "user", "content": item.question}], "expected": item.answer}
    return json.dumps(row, ensure_ascii=False)


def replay_line(item: Exchange) -> str:
    """One line of ``replay.jsonl``."""
    return json.dumps({"messages": messages([item])}, ensure_ascii=False)
