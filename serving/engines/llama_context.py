"""Loading for llama.cpp: the backend, the weights, and a context that fits in memory."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from pathlib import Path
from typing import Any

import llama_cpp as c

from serving.engine import LoadOptions, ModelRefused
from serving.gguf_check import GgufFile

BATCH = 512
"""Tokens in one step, over all sequences."""
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


_backend = threading.Lock()
_started = False


def start_backend() -> None:
    """Start llama.cpp once in this process; its words go to us, not to stderr."""
    global _started
    with _backend:
        if not _started:
            c.llama_log_set(_remember, ctypes.c_void_p(0))
            c.llama_backend_init()
            _started = True


def load_model(options: LoadOptions) -> Any:
    """The weights. Raises ``ModelRefused`` with llama.cpp's own words."""
    params = c.llama_model_default_params()
    # Repacked weights crash on processors with AMX (ggml-org/llama.cpp#20824).
    params.use_extra_bufts = False
    params.check_tensors = True
    _log.clear()
    model = c.llama_model_load_from_file(os.fsencode(options.path), params)
    if not model:
        raise ModelRefused(f"llama.cpp does not load {options.path}: {_told()}")
    return model


def make_context(model: Any, file: GgufFile, options: LoadOptions, context: int) -> Any:
    """The memory and threads of the sequences; without it the model is freed. Raises ``ModelRefused``."""
    precise = file.cache_bytes(context * options.slots, 4) <= _PRECISE_CACHE
    threads = options.threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or len(os.sched_getaffinity(0))
    params = c.llama_context_default_params()
    params.n_ctx = context * options.slots
    params.n_seq_max = options.slots
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = threads
    params.kv_unified = True
    params.type_k = params.type_v = _F32 if precise else _F16
    params.flash_attn_type = _DISABLED if precise else _AUTO
    params.no_perf = True
    made = c.llama_init_from_model(model, params)
    if not made:
        c.llama_model_free(model)
        raise ModelRefused(f"llama.cpp has no room for a context of {context} tokens: {_told()}")
    return made


def fit_context(file: GgufFile, options: LoadOptions) -> tuple[int, str]:
    """The context of one request: as asked, else the model's own as far as half of the free memory holds it."""
    if options.context:
        return min(options.context, file.context), ""
    fits = _available_memory() // 2 // max(1, file.cache_bytes(options.slots, 2))
    if fits >= file.context:
        return file.context, ""
    context = max(256, fits // 256 * 256)
    return context, f"The context is {context} of the model's {file.context} tokens, so that it fits in memory."


def _told() -> str:
    """The last words of llama.cpp."""
    return " / ".join(list(_log)[-2:])


def _available_memory() -> int:
    """Bytes that can be had without swapping (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
