"""``luthier version``: what runs here."""

from __future__ import annotations

import platform
from importlib import metadata

from appliance import __version__
from appliance.cli.command import Call, Command

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "gguf", "llama-cpp-python", "fastapi", "textual")


def run(call: Call) -> int:
    packages = {name: _version(name) for name in _PACKAGES}
    python = platform.python_version()
    if call.screen.as_json:
        body = {"schema": "luthier.version/1", "version": __version__, "python": python, "packages": packages}
        call.screen.value(body | {"platform": platform.platform()})
        return 0
    call.screen.show(f"luthier {__version__}")
    known = (("python", python), *packages.items())
    call.screen.pairs((name, found or "not installed") for name, found in known)
    return 0


def _version(name: str) -> str | None:
    """The installed version, from its metadata: nothing is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


COMMAND = Command(
    about="The version of Luthier and of what it stands on.",
    run=run,
    examples=("luthier version", "luthier version --json"),
    exits=(0,),
)
