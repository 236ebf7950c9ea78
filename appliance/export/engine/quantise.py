"""``python -m appliance.export.engine.quantise IN OUT q4_k_m``: llama.cpp's own quantiser, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

import llama_cpp


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise one file; the exit status is llama.cpp's."""
    source, out, precision = sys.argv[1:] if argv is None else argv
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{precision.upper()}")
    params.nthread = len(os.sched_getaffinity(0))
    return int(llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params)))


if __name__ == "__main__":
    raise SystemExit(main())
