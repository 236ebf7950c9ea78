"""Whose checkpoints these are: plan, dataset and base model as one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.durable import sha256_file
from appliance.training.base import weight_files

_WHOLE = 64 * 2**20
_SAMPLES = 64
_SAMPLE = 2**20


def job_fingerprint(plan: Mapping[str, Any], dataset: Path, base: Path) -> str:
    """A checkpoint of another plan, dataset or base model has another fingerprint, wherever the folders lie."""
    parts = {"plan": dict(plan), "dataset": dataset_hash(dataset), "base": base_hash(base)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def dataset_hash(dataset: Path) -> str:
    """A hash of the examples that training reads."""
    files = [dataset / f"{name}.jsonl" for name in ("train", "validation", "replay")]
    hashes = [sha256_file(file) if file.is_file() else None for file in files]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def base_hash(folder: Path) -> str:
    """A hash of configuration, tokenizer, template and weights.

    Of a large file it takes the size and 64 evenly spaced pieces of a MiB: enough to tell two models apart
    without reading tens of gigabytes at every start.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        file = folder / name
        digest.update(sha256_file(file).encode() if file.is_file() else b"-")
    for file in weight_files(folder):
        digest.update(f"{file.name} {file.stat().st_size} {_file_hash(file)}".encode())
    return digest.hexdigest()


def _file_hash(file: Path) -> str:
    size = file.stat().st_size
    if size <= _WHOLE:
        return sha256_file(file)
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for number in range(_SAMPLES):
            stream.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()
