"""Whether a model can become what is asked for, found out from its small files before hours of training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from appliance.export.architecture import read_architecture
from appliance.export.formats import parse_formats
from appliance.export.vocabulary import read_vocabulary


def check_export(model: Path, formats: Iterable[str], *, tokenizer: Path | None = None) -> None:
    """Check a base model's folder against format names.

    Raises ``UnknownName`` for a wrong format and ``InvalidBaseModel`` for a family, activation, rotary scaling or
    tokenizer that a format does not cover. It parses files of the model: call it in a child of the daemon, not in
    the daemon.
    """
    if any(format_.exporter == "gguf" for format_ in parse_formats(formats)):
        read_vocabulary(tokenizer or model, read_architecture(model).vocabulary)
