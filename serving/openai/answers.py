"""Requests as they run: from token ids to pieces of text, for one or several choices at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from serving.answer_text import AnswerText
from serving.engine import Broken, Echoed, Event, Finished, FinishReason, Generation, TokenScore
from serving.openai.errors import ApiError, invalid
from serving.openai.parameters import Wish
from serving.shelf import Loaded

PING_SECONDS = 15.0
WAITING_MOST = 64


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One choice to generate."""

    ids: tuple[int, ...]
    max_tokens: int
    echo: bool = False
    before: tuple[int, ...] = ()
    """The tokens the answer continues, where its first word belongs to a text."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of one choice: some text with the tokens it came from."""

    index: int
    text: str = ""
    scores: tuple[TokenScore, ...] = ()
    echoed: tuple[TokenScore, ...] = ()
    finish: FinishReason | None = None


class _Choice:
    """Collects the events of one generation into pieces."""

    def __init__(self, index: int, generation: Generation, text: AnswerText) -> None:
        self.index = index
        self.generation = generation
        self.text = text
        self.scores: list[TokenScore] = []

    def piece(self, event: Event) -> Piece | None:
        """What can be shown after ``event``. Raises ``ApiError`` when the engine gave up."""
        if isinstance(event, Broken):
            raise ApiError(500, "engine_failed", event.message)
        if isinstance(event, Echoed):
            return Piece(index=self.index, echoed=event.scores)
        if isinstance(event, Finished):
            return self._piece(self.text.end(), event.reason)
        self.scores.append(event.score)
        shown = self.text.push(event.score.id)
        if self.text.stopped:
            self.generation.cancelled = True
            return self._piece(shown, "stop")
        return self._piece(shown, None) if shown else None

    def _piece(self, text: str, finish: FinishReason | None) -> Piece:
        scores, self.scores = tuple(self.scores), []
        return Piece(index=self.index, text=text, scores=scores, finish=finish)


def fit(prompt: int, wish: Wish, context: int) -> int:
    """How many tokens an answer may have. Raises the 400 for what does not fit: nothing is cut off silently."""
    asked = wish.max_tokens
    if prompt + (1 if asked is None else asked) > context:
        raise ApiError(
            400,
            "context_length_exceeded",
            f"This model's context is {context} tokens; the prompt has {prompt}"
            + (f" and {asked} are asked for." if asked else "."),
            param="max_tokens" if asked and prompt < context else "messages",
        )
    return context - prompt if asked is None else asked


def check(loaded: Loaded, wish: Wish, asks: Sequence[Ask]) -> None:
    """Refuse what the engine must not be given. Raises ``ApiError``."""
    vocabulary = loaded.engine.facts.vocabulary
    wrong = [id_ for ask in asks for id_ in ask.ids if id_ >= vocabulary]
    if wrong:
        raise invalid(f"The prompt has the token id {wrong[0]}; the model has {vocabulary} tokens.", "prompt")
    if not all(ask.ids for ask in asks):
        raise invalid("The prompt has no tokens: this model's tokenizer knows none of its characters.", "prompt")
    biased = [token for token in wish.sampling.logit_bias if token >= vocabulary]
    if biased:
        raise invalid(f"logit_bias names the token {biased[0]}; the model has {vocabulary}.", "logit_bias")
    if loaded.engine.load()[1] + len(asks) > WAITING_MOST:
        raise ApiError(503, "overloaded", f"More than {WAITING_MOST} requests wait already.", retry_after=2)


async def answer(loaded: Loaded, wish: Wish, asks: Sequence[Ask]) -> AsyncIterator[Piece | None]:
    """Generate every ask and yield pieces as they come; None every now and then when nothing does.

    Leaving the iteration, for whatever reason, frees the slots. Raises ``ApiError``.
    """
    queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
    choices = {}
    for index, ask in enumerate(asks):
        generation = _generation(wish, ask, index, _Courier(queue, index))
        text = AnswerText(loaded.tokenizer, wish.stops, ask.before)
        choices[index] = _Choice(index, generation, text)
    running = dict(choices)
    try:
        for choice in choices.values():
            loaded.engine.submit(choice.generation)
        while running:
            try:
                index, event = await asyncio.wait_for(queue.get(), PING_SECONDS)
            except TimeoutError:
                yield None
                continue
            piece = running[index].piece(event) if index in running else None
            if piece is not None:
                if piece.finish:
                    del running[index]
                yield piece
    finally:
        for choice in choices.values():
            choice.generation.cancelled = True


def _generation(wish: Wish, ask: Ask, index: int, deliver: Callable[[Event], None]) -> Generation:
    """The request for one choice; choices of one seed differ, and come out the same the next time."""
    seed = wish.sampling.seed
    sampling = wish.sampling if seed is None else replace(wish.sampling, seed=seed + index)
    return Generation(
        ids=ask.ids,
        max_tokens=ask.max_tokens,
        sampling=sampling,
        deliver=deliver,
        logprobs=wish.logprobs,
        echo=ask.echo,
    )


class _Courier:
    """Carries the events of one choice from the engine's thread to the event loop."""

    def __init__(self, queue: asyncio.Queue[tuple[int, Event]], index: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._index = index

    def __call__(self, event: Event) -> None:
        # The loop is gone when the server stops while the engine still runs: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (self._index, event))
