"""What the server asks of an engine: token ids in, token ids out, many requests at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from appliance.errors import LuthierError
from appliance.registry import Entry, Registry

ENGINES = Registry(
    "engine",
    {
        "llama_cpp": Entry(
            "serving.engines.llama_cpp:load", "llama.cpp: GGUF files on the CPU or a GPU", ("llama_cpp", "numpy")
        ),
    },
)

FinishReason = Literal["stop", "length"]


class ModelRefused(LuthierError):
    """A model file that an engine must not or cannot load."""

    code = "model-refused"
    exit_status = 9


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is to be held."""

    path: Path
    context: int = 0
    """Tokens a request may have, prompt and answer together; 0 takes the model's own."""
    slots: int = 4
    """Requests answered at the same time."""
    threads: int = 0
    """0 takes every core this process may use."""


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What the server must know of a loaded model. It comes from the artifact, not from beside it."""

    context: int
    vocabulary: int
    ends: frozenset[int]
    """Ids that end an answer."""
    begin: int | None
    """The id put before plain text, or None."""
    note: str = ""
    """What was decided while loading, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 1.0
    """0 takes the likeliest."""
    top_p: float = 1.0
    top_k: int = 0
    """0 considers every token."""
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenScore:
    """A token where it stood: natural logarithms of probabilities under the unmodified distribution."""

    id: int
    logprob: float | None
    """None for the first token of all, which nothing predicts."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens there, best first."""


@dataclass(frozen=True)
class Echoed:
    """The tokens of the prompt, scored; comes once and before any other event."""

    scores: tuple[TokenScore, ...]


@dataclass(frozen=True)
class Produced:
    """One token of the answer."""

    score: TokenScore


@dataclass(frozen=True)
class Finished:
    """The answer is complete. An end token is not part of it."""

    reason: FinishReason


@dataclass(frozen=True)
class Broken:
    """The engine could not go on with this request."""

    message: str


Event = Echoed | Produced | Finished | Broken


@dataclass(kw_only=True)
class Generation:
    """One request to an engine."""

    ids: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    deliver: Callable[[Event], None]
    """Called from the engine's thread; must not block."""
    logprobs: int | None = None
    """How many alternatives to report at each token; None reports no probabilities."""
    echo: bool = False
    """Whether the prompt is scored too."""
    cancelled: bool = False
    """Set by whoever no longer wants the answer; the slot is free within one step."""


class Engine(Protocol):
    """A loaded model."""

    @property
    def facts(self) -> EngineFacts: ...

    def submit(self, generation: Generation) -> None:
        """Queue a request whose ids and ``max_tokens`` fit the context."""

    def load(self) -> tuple[int, int]:
        """How many requests are being answered, and how many wait."""

    def close(self) -> None:
        """Free the model; requests still there end as ``Broken``."""


Loader = Callable[[LoadOptions], Engine]
