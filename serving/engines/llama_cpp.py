"""llama.cpp through its low-level interface: one thread, one context, many sequences in each batch.

It is given token ids and gives token ids. Its own tokenizer is never used, because a vocabulary without byte
tokens makes it abort the process on an unknown character.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import llama_cpp as c
import numpy as np

from serving.engine import (
    Broken,
    Echoed,
    Engine,
    EngineFacts,
    Finished,
    Generation,
    LoadOptions,
    Produced,
    TokenScore,
)
from serving.engines.llama_context import BATCH, fit_context, load_model, make_context, start_backend
from serving.engines.sampling import pick, score
from serving.gguf_check import check_gguf

# Logits of a batch are kept for every token that is scored: 4 bytes a vocabulary entry.
_SCORED_BYTES = 64 * 1024**2


def load(options: LoadOptions) -> Engine:
    """Check a GGUF file, load it and start its thread. Raises ``ModelRefused``."""
    return LlamaCpp(options)


@dataclass
class _Slot:
    """One sequence of the context while it belongs to a request."""

    sequence: int
    generation: Generation
    random: np.random.Generator
    pending: deque[int]
    """Tokens not yet given to the model."""
    past: int = 0
    """Tokens given to it."""
    produced: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    echoed: list[TokenScore] = field(default_factory=list)

    @property
    def reading(self) -> bool:
        """Whether it is still at its prompt."""
        return self.produced == 0


class LlamaCpp:
    """A loaded GGUF file."""

    def __init__(self, options: LoadOptions) -> None:
        start_backend()
        file = check_gguf(options.path)
        self._model = load_model(options)
        context, note = fit_context(file, options)
        self._context = make_context(self._model, file, options, context)
        self._memory = c.llama_get_memory(self._context)
        self._batch = c.llama_batch_init(BATCH, 0, 1)
        self._facts = EngineFacts(
            context=context, vocabulary=file.vocabulary, ends=file.ends, begin=file.begin, note=note
        )
        self._free = list(range(options.slots))
        self._active: list[_Slot] = []
        self._waiting: deque[Generation] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"engine {options.path.name}", daemon=True)
        self._thread.start()

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    def submit(self, generation: Generation) -> None:
        """Queue a request; it is answered when a slot is free."""
        with self._wake:
            if self._closing:
                generation.deliver(Broken("The model was unloaded."))
                return
            self._waiting.append(generation)
            self._wake.notify()

    def load(self) -> tuple[int, int]:
        with self._wake:
            return len(self._active), len(self._waiting)

    def close(self) -> None:
        """Stop the thread and free the model."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        c.llama_batch_free(self._batch)
        c.llama_free(self._context)
        c.llama_model_free(self._model)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closing and not self._waiting and not self._active:
                    self._wake.wait()
                if self._closing:
                    break
                self._admit()
            self._drop_cancelled()
            if self._active:
                self._step()
        for generation in [*(slot.generation for slot in self._active), *self._waiting]:
            generation.deliver(Broken("The model was unloaded."))

    def _admit(self) -> None:
        while self._waiting and self._free:
            generation = self._waiting.popleft()
            if generation.cancelled:
                continue
            random = np.random.default_rng(generation.sampling.seed)
            slot = _Slot(self._free.pop(), generation, random, deque(generation.ids))
            self._active.append(slot)

    def _drop_cancelled(self) -> None:
        for slot in [slot for slot in self._active if slot.generation.cancelled]:
            self._release(slot)

    def _release(self, slot: _Slot) -> None:
        c.llama_memory_seq_rm(self._memory, slot.sequence, -1, -1)
        with self._wake:
            self._active.remove(slot)
            self._free.append(slot.sequence)

    def _step(self) -> None:
        """One batch: the next token of each answer, then as much of the prompts as fits."""
        outputs: list[tuple[int, _Slot, int]] = []
        self._batch.n_tokens = 0
        scored = max(1, _SCORED_BYTES // (4 * self._facts.vocabulary))
        for slot in sorted(self._active, key=lambda slot: slot.reading):
            while slot.pending and self._batch.n_tokens < BATCH:
                wanted = slot.generation.echo and slot.reading
                if wanted and len(outputs) >= scored:
                    break
                last = len(slot.pending) == 1
                if wanted or last:
                    outputs.append((self._batch.n_tokens, slot, slot.past))
                self._append(slot, wanted or last)
        if (status := c.llama_decode(self._context, self._batch)) != 0:
            for slot in list(self._active):
                slot.generation.deliver(Broken(f"llama.cpp could not go on (status {status})."))
                self._release(slot)
            return
        for index, slot, place in outputs:
            if slot in self._active:
                self._read(slot, index, place)

    def _append(self, slot: _Slot, output: bool) -> None:
        batch, index = self._batch, self._batch.n_tokens
        batch.token[index] = slot.pending.popleft()
        batch.pos[index] = slot.past
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = slot.sequence
        batch.logits[index] = output
        batch.n_tokens = index + 1
        slot.past += 1

    def _read(self, slot: _Slot, index: int, place: int) -> None:
        """Use the logits at ``index`` of the batch, which follow the token at ``place`` of the sequence."""
        pointer = c.llama_get_logits_ith(self._context, index)
        logits = np.ctypeslib.as_array(pointer, shape=(self._facts.vocabulary,))
        if not np.isfinite(logits.max()):
            slot.generation.deliver(Broken("The model's numbers became infinite or undefined."))
            self._release(slot)
            return
        generation = slot.generation
        if generation.echo and slot.reading and not self._echo(slot, logits, place):
            return
        if generation.max_tokens == 0:
            self._finish(slot, Finished("length"))
            return
        token = pick(logits, generation.sampling, slot.random, slot.seen)
        if token in self._facts.ends:
            self._finish(slot, Finished("stop"))
            return
        slot.produced += 1
        slot.seen[token] += 1
        slot.pending.append(token)
        top = generation.logprobs
        generation.deliver(Produced(TokenScore(token, None) if top is None else score(logits, token, top)))
        if slot.produced >= generation.max_tokens:
            self._finish(slot, Finished("length"))

    def _echo(self, slot: _Slot, logits: Any, place: int) -> bool:
        """Score the prompt's next token; True when the prompt has been scored to its end."""
        ids = slot.generation.ids
        if not slot.echoed:
            slot.echoed.append(TokenScore(ids[0], None))
        if place + 1 < len(ids):
            slot.echoed.append(score(logits, ids[place + 1], slot.generation.logprobs or 0))
            return False
        slot.generation.deliver(Echoed(tuple(slot.echoed)))
        return True

    def _finish(self, slot: _Slot, event: Finished) -> None:
        slot.generation.deliver(event)
        self._release(slot)
