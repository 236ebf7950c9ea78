"""llama.cpp through its low-level interface: one thread, one context, many sequences in each batch.

It is given token ids and gives token ids. Its own tokenizer is never used, because a vocabulary without byte
tokens makes it abort the process on an unknown character.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
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
    ModelRefused,
    Produced,
    TokenScore,
)
from serving.engines.sampling import pick, score
from serving.gguf_check import GgufFile, check_gguf

_BATCH = 512
# Logits of a batch are kept for every token that is scored: 4 bytes a vocabulary entry.
_SCORED_BYTES = 64 * 1024**2
# Up to this many bytes the cache holds 32-bit floats and attention is not fused: answers are then those of the
# file, not of the rounding of a cache (16 bits move a logit by 1e-2 on small models).
_PRECISE_CACHE = 1024**3
_DISABLED, _AUTO = 0, -1
_F32, _F16 = 0, 1

_log: deque[str] = deque(maxlen=20)


@c.llama_log_callback  # type: ignore[untyped-decorator]
def _remember(_level: int, text: bytes, _data: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    if line:
        _log.append(line)


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
        _start_backend()
        file = check_gguf(options.path)
        self._model = _load_model(options)
        self._slots_most = options.slots
        context, note = _fit_context(file, options)
        self._context = _make_context(self._model, file, options, context)
        if not self._context:
            c.llama_model_free(self._model)
            raise ModelRefused(
                f"llama.cpp has no room for a context of {context} tokens: {' / '.join(list(_log)[-2:])}"
            )
        self._memory = c.llama_get_memory(self._context)
        self._batch = c.llama_batch_init(_BATCH, 0, 1)
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
            while slot.pending and self._batch.n_tokens < _BATCH:
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


_backend = threading.Lock()
_started = False


def _start_backend() -> None:
    global _started
    with _backend:
        if not _started:
            c.llama_log_set(_remember, ctypes.c_void_p(0))
            c.llama_backend_init()
            _started = True


def _load_model(options: LoadOptions) -> Any:
    params = c.llama_model_default_params()
    # Repacked weights crash on processors with AMX (ggml-org/llama.cpp#20824).
    params.use_extra_bufts = False
    params.check_tensors = True
    _log.clear()
    model = c.llama_model_load_from_file(os.fsencode(options.path), params)
    if not model:
        raise ModelRefused(f"llama.cpp does not load {options.path}: {' / '.join(list(_log)[-2:])}")
    return model


def _make_context(model: Any, file: GgufFile, options: LoadOptions, context: int) -> Any:
    precise = file.cache_bytes(context * options.slots, 4) <= _PRECISE_CACHE
    threads = options.threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or len(os.sched_getaffinity(0))
    params = c.llama_context_default_params()
    params.n_ctx = context * options.slots
    params.n_seq_max = options.slots
    params.n_batch = params.n_ubatch = _BATCH
    params.n_threads = params.n_threads_batch = threads
    params.kv_unified = True
    params.type_k = params.type_v = _F32 if precise else _F16
    params.flash_attn_type = _DISABLED if precise else _AUTO
    params.no_perf = True
    return c.llama_init_from_model(model, params)


def _fit_context(file: GgufFile, options: LoadOptions) -> tuple[int, str]:
    """The context of one request: as asked, else the model's own as far as half of the free memory holds it."""
    if options.context:
        return min(options.context, file.context), ""
    fits = _available_memory() // 2 // max(1, file.cache_bytes(options.slots, 2))
    if fits >= file.context:
        return file.context, ""
    context = max(256, fits // 256 * 256)
    return context, f"The context is {context} of the model's {file.context} tokens, so that it fits in memory."


def _available_memory() -> int:
    """Bytes that can be had without swapping (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
