"""``safetensors``: the merged Hugging Face folder itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import durable
from appliance.export.formats import Format


def export(
    merged: Path, artifacts: Path, name: str, formats: Sequence[Format], phase: Callable[[str], None]
) -> dict[str, Path]:
    """The folder as it was committed, checked against its manifest. Raises ``CorruptFolder``."""
    durable.verify_folder(merged)
    return {format_.name: merged for format_ in formats}
