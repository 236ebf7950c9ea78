"""Build the inference engine (llama-cpp-python) for this processor, once, and keep the wheel.

``GGML_NATIVE`` is off: a native build uses AMX tiles where the processor has them and then crashes on every
quantised model (ggml-org/llama.cpp issue 20824). Instead each instruction set that llama.cpp can use safely is
switched on when this processor has it, so that the result is fast and runs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

# llama.cpp's switch ← the flag in /proc/cpuinfo; without GGML_NATIVE they are on unless switched off.
_X86_SWITCHES = {"SSE42": "sse4_2", "AVX": "avx", "AVX2": "avx2", "FMA": "fma", "F16C": "f16c", "BMI2": "bmi2"}


def cmake_arguments(cpu_flags: set[str] | None = None, *, cuda: bool | None = None) -> list[str]:
    """The switches for this machine; CUDA when its toolkit and a GPU are here."""
    flags = _cpu_flags() if cpu_flags is None else cpu_flags
    arguments = ["-DGGML_NATIVE=OFF"]
    if platform.machine() in ("x86_64", "AMD64") and flags:
        arguments += [f"-DGGML_{name}=OFF" for name, flag in _X86_SWITCHES.items() if flag not in flags]
    if has_cuda() if cuda is None else cuda:
        arguments.append("-DGGML_CUDA=ON")
    return arguments


def has_cuda() -> bool:
    """A CUDA toolkit to build with and a GPU to run on. Either alone would only cost an hour of compiling."""
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    toolkit = shutil.which("nvcc") or any((Path(root) / "bin/nvcc").exists() for root in roots if root)
    return bool(toolkit) and Path("/dev/nvidiactl").exists()


def wheel_folder(requirement: str, arguments: list[str]) -> Path:
    """Where the wheel for this engine, processor and Python is kept, for every checkout of this user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = "|".join([requirement, platform.machine(), sys.implementation.cache_tag or "", *arguments])
    return cache / "luthier" / "wheels" / hashlib.sha256(key.encode()).hexdigest()[:16]


def kept_wheel(folder: Path) -> Path | None:
    """The wheel built before, if it is whole; it gets its name only when the build has ended."""
    return next(iter(sorted(folder.glob("*.whl"))), None)


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].partition(":")[2].split()) if lines else set()
