"""Checkpoints: safetensors and JSON in a committed folder, never pickle.

``checkpoints/step-000200/`` holds ``weights.safetensors`` (what changes), ``optimizer.safetensors``,
``rng.safetensors`` (of every rank) and ``state.json``. One is used only after its manifest has been verified, and
an older one is removed only after a newer one was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from appliance import durable
from appliance.errors import CorruptFolder, PlanMismatch
from appliance.events import EventType
from appliance.work import Work

SCHEMA = "luthier.checkpoint/1"
PARTS = ("weights", "optimizer", "rng")
_PREFIX = "step-"
_QUARANTINE = "corrupt-"


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a run stands after a step, besides its tensors."""

    step: int = 0
    tokens: int = 0
    """Tokens seen so far, padding not counted."""
    training_seconds: float = 0.0
    """Time spent in steps, over all attempts."""
    seconds: float = 0.0
    """Time spent in steps, validating and saving, over all attempts."""
    losses: tuple[float, ...] = ()
    """The latest losses, newest last."""
    first_loss: float | None = None
    best_validation_loss: float | None = None
    validated_at: int = 0
    """The last step whose validation loss was looked at."""
    bad_steps: int = 0
    """Steps in a row up to now whose loss or gradient was not finite."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint, read."""

    path: Path
    state: State
    tensors: Mapping[str, Mapping[str, Tensor]]
    """Part (weights, optimizer, rng) → name → tensor on the CPU."""


def save(folder: Path, fingerprint: str, state: State, tensors: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Commit a checkpoint of ``state.step``; one that is there already is kept. Raises ``DiskFull``."""
    final = folder / f"{_PREFIX}{state.step:06d}"
    if final.exists():
        return final
    with durable.folder(final) as staged:
        for part in PARTS:
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors[part].items()}, staged / f"{part}.safetensors"
            )
        body = {"schema": SCHEMA, "fingerprint": fingerprint, **asdict(state)}
        (staged / "state.json").write_text(json.dumps(body, indent=1), encoding="utf-8")
    return final


def newest(work: Work, fingerprint: str) -> Checkpoint | None:
    """The newest checkpoint that verifies; corrupt ones are set aside and warned of.

    Raises ``PlanMismatch`` when it belongs to another plan, dataset or base model.
    """
    folder = work.folder.checkpoints
    durable.sweep(folder)
    for path in steps(folder):
        try:
            return _read(path, fingerprint)
        except CorruptFolder as error:
            aside = _set_aside(path)
            message = f"{error.message} It is set aside as {aside.name}, and an older checkpoint is used."
            work.emit(EventType.WARNED, code=error.code, message=message)
    return None


def rotate(folder: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest checkpoints, by step. Raises ``CorruptFolder`` if the newest is not whole."""
    found = list(steps(folder))
    if len(found) > keep:
        durable.verify_folder(found[0])
    for path in found[keep:]:
        durable.remove(path)


def steps(folder: Path) -> Iterator[Path]:
    """The checkpoints in a folder, newest first, by the step in their names."""
    numbers = {path.name.removeprefix(_PREFIX): path for path in folder.glob(f"{_PREFIX}*")}
    yield from (numbers[name] for name in sorted((n for n in numbers if n.isdigit()), key=int, reverse=True))


def _read(path: Path, fingerprint: str) -> Checkpoint:
    durable.verify_folder(path)
    try:
        body: dict[str, Any] = json.loads((path / "state.json").read_bytes())
        schema, owner = body.pop("schema"), body.pop("fingerprint")
        state = State(**(body | {"losses": tuple(body["losses"])}))
        tensors = {part: load_file(path / f"{part}.safetensors") for part in PARTS}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CorruptFolder(f"{path} cannot be read as a checkpoint ({error}).") from error
    if schema != SCHEMA or owner != fingerprint:
        raise PlanMismatch(
            f"{path} belongs to another plan, dataset or base model than this job.",
            hint="Start a new job, or put back the dataset and the base model that this one began with.",
            where=str(path),
        )
    return Checkpoint(path, state, tensors)


def _set_aside(path: Path) -> Path:
    name, number = f"{_QUARANTINE}{path.name}", 1
    while path.with_name(name).exists():
        number += 1
        name = f"{_QUARANTINE}{path.name}-{number}"
    aside = path.rename(path.with_name(name))
    durable.sync_folder(path.parent)
    return aside
