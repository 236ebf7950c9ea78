"""What a person means by a base model, as a folder. Only names and sizes are looked at: files are read in a child."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sqlmodel import Session

from appliance.errors import FileNotFound, InvalidBaseModel, NetworkNotAllowed, NotFound, nearest
from appliance.launch import ROOT
from scheduler.store import lookup
from scheduler.store.tables import ModelRow

STARTER = "starter"
HUB = "hub:"
"""Begins a base that is not here yet and is fetched by a job first."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_base(session: Session, wanted: str | None, *, offline: bool) -> str:
    """The folder of a base model, or ``hub:`` and the id of one that must be fetched first.

    Raises ``FileNotFound``, ``InvalidBaseModel``, ``NetworkNotAllowed`` and ``NotFound``.
    """
    if wanted is None or wanted == STARTER:
        return _checked(ROOT / "appliance" / STARTER / "model")
    row = lookup.find_or_none(session, ModelRow, wanted, "model")
    if row is not None:
        return _of_model(row)
    path = Path(wanted).expanduser()
    if path.is_absolute() or wanted.startswith(".") or wanted.count("/") > 1:
        return _checked(path)
    if _HUB_ID.fullmatch(wanted):
        return _of_hub(wanted, offline=offline)
    names = [STARTER, *(row.name for row in lookup.newest(session, ModelRow))]
    guess = nearest(wanted, names)
    hint = f"Did you mean '{guess}'?" if guess else "For a folder, write ./NAME."
    raise NotFound(f"There is no base model '{wanted}'. Known here: {', '.join(names)}.", hint=hint)


def _checked(path: Path) -> str:
    """The path, if it looks like a model folder from outside."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise FileNotFound(f"The base model folder {path} {what}.", where=str(path))
    missing = [] if (path / "config.json").is_file() else ["config.json"]
    if not any(path.glob("*.safetensors")):
        missing.append("weights (*.safetensors)")
    if missing:
        raise InvalidBaseModel(
            f"{path} has no {' and no '.join(missing)}.",
            hint="A base model is a folder in the Hugging Face layout, with safetensors weights.",
            where=str(path),
        )
    return str(path.resolve())


def _of_model(row: ModelRow) -> str:
    if row.kind == "full":
        return _checked(Path(row.path))
    merged = (row.exported or {}).get("merged")
    if merged is None:
        raise InvalidBaseModel(
            f"'{row.name}' is an adapter that was never merged into its base.",
            hint=f"`luthier model export {row.name}` merges it.",
        )
    return _checked(Path(merged))


def _of_hub(wanted: str, *, offline: bool) -> str:
    """What is to be fetched, where that is allowed; else what an earlier download left on this machine."""
    if not offline:
        return f"{HUB}{wanted}"
    cached = cached_snapshot(wanted, os.environ)
    if cached is not None:
        return _checked(cached)
    raise NetworkNotAllowed(
        f"'{wanted}' looks like a hub id, is not on this machine, and the setting network.offline is true.",
        hint=f"Give a local folder (for a folder of that name write ./{wanted}), or set network.offline = false.",
    )


def cached_snapshot(wanted: str, environ: Mapping[str, str]) -> Path | None:
    """Where ``huggingface_hub`` keeps a model it downloaded, None when it did not."""
    home = Path(
        environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    ).expanduser()
    hub = Path(environ.get("HF_HUB_CACHE") or home / "hub")
    repository = hub / f"models--{wanted.replace('/', '--')}"
    try:
        commit = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None
