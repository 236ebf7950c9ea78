"""What the trained model answered before anything was made of it: the truth that every artifact is held to.

Written once, by Transformers with the adapter still apart, as ``reference.json``; read by the parity check. Logits
are natural-logarithm probabilities. ``ids`` of a passage are scored from the second on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.errors import CorruptFolder

SCHEMA = "luthier.reference/1"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text as tokens, and what the trained model expected at each place."""

    name: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of ``ids[1:]``."""
    top: tuple[tuple[tuple[int, float], ...], ...]
    """The likeliest tokens at the places of ``ids[1:]``, best first."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A prompt and the trained model's greedy answer to it."""

    name: str
    messages: tuple[Mapping[str, Any], ...] = ()
    """Of a conversation; empty for plain text."""
    text: str = ""
    """Of plain text."""
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    answer_text: str
    ended: bool
    """Whether the model ended the answer itself; then the passage has the end token too."""
    margins: tuple[float, ...]
    """At each token of the answer and its end: how much likelier it was than the next best, as probabilities."""
    passage: Passage
    """Prompt and answer together."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Everything an artifact is compared with."""

    ends: tuple[int, ...]
    """Ids that end an answer."""
    begin: int | None
    """The id before plain text, or None."""
    template: str
    token_count: int
    tokens: str
    """Digest of the tokenizer's tokens by id."""
    probes: tuple[Probe, ...]
    texts: tuple[Passage, ...]
    """Real text that the model did not write."""

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def read_reference(path: Path) -> Reference:
    """Read ``reference.json``. Raises ``CorruptFolder``."""
    try:
        body = json.loads(path.read_bytes())
        if body.pop("schema") != SCHEMA:
            raise ValueError("it is of another schema")
        probes = tuple(_probe(item) for item in body.pop("probes"))
        texts = tuple(_passage(item) for item in body.pop("texts"))
        return Reference(**(body | {"ends": tuple(body["ends"])}), probes=probes, texts=texts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFolder(f"{path} is not a readable reference: {error!r}.", where=str(path)) from error


def digest_tokens(tokens: Sequence[str]) -> str:
    """One number for a list of tokens, the same wherever the list came from."""
    return hashlib.sha256(json.dumps(list(tokens)).encode()).hexdigest()


def _probe(item: Mapping[str, Any]) -> Probe:
    plain = {key: tuple(item[key]) for key in ("messages", "prompt", "answer", "margins")}
    return Probe(**{**item, **plain, "passage": _passage(item["passage"])})


def _passage(item: Mapping[str, Any]) -> Passage:
    top = tuple(tuple((int(id_), float(value)) for id_, value in place) for place in item["top"])
    return Passage(name=item["name"], ids=tuple(item["ids"]), logprobs=tuple(item["logprobs"]), top=top)
