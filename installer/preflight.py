"""What must be there before anything is installed; each fault is one sentence with its remedy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

NEWEST = (3, 14)
# Measured on Linux x86-64: the environment takes 1.9 GB, compiling llama.cpp 0.7 GB for a while.
NEED_BYTES = 4_000_000_000


class Refused(Exception):
    """The installation cannot go on; the text says why and what to do."""


def check_python() -> None:
    """Packages with compiled parts exist for Python 3.11 to 3.14, and pip must be available."""
    if sys.version_info[:2] > NEWEST:
        raise Refused(
            f"Luthier supports Python 3.11 to {NEWEST[0]}.{NEWEST[1]} and this is "
            f"{platform.python_version()}: run the installer with one of those."
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise Refused(
            f"This Python cannot make virtual environments: install its venv package (Debian, Ubuntu: "
            f"`sudo apt install python{version}-venv`)."
        ) from None


def check_platform() -> None:
    """Linux first: the queue relies on flock leases and on Linux's parent-death signal."""
    if not sys.platform.startswith("linux"):
        raise Refused(f"Luthier runs on Linux and this is {sys.platform}: use a Linux machine, a VM or WSL 2.")


def check_disk(checkout: Path, need: int = NEED_BYTES) -> None:
    """Room for the environment, before half of it has been written."""
    free = shutil.disk_usage(checkout).free
    if free < need:
        raise Refused(
            f"Installing needs {need / 1e9:.1f} GB under {checkout} and {free / 1e9:.1f} GB are free: "
            "free some space or move the checkout to a larger disk."
        )


def check_compiler() -> None:
    """llama.cpp comes as source."""
    wanted = [os.environ.get("CXX"), "c++", "g++", "clang++"]
    if not any(shutil.which(name) for name in wanted if name):
        raise Refused(
            "No C++ compiler was found, and the inference engine is built from source: install one (Debian, Ubuntu: "
            "`sudo apt install build-essential`; Fedora: `sudo dnf install gcc-c++ make`) and run this again."
        )
