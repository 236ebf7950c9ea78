"""The job kind ``export``: reference answers, the merged model, and every format asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import CorruptFolder
from appliance.events import EventType
from appliance.export.engine.reference import make_reference
from appliance.export.engine.trained import Trained
from appliance.export.formats import EXPORTERS, Format, Order, parse_formats
from appliance.export.reference import read_reference
from appliance.export.support import check_export
from appliance.work import Work


def run(work: Work) -> dict[str, Any]:
    """Make the artifacts; what an earlier attempt committed is verified and used."""
    spec, artifacts = work.job.spec, work.folder.artifacts
    formats = parse_formats(spec["formats"])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(spec.get("name") or work.job.name)).strip("-.")[:64] or "model"
    model = work.job.inputs["model"]
    adapter = model["kind"] == "adapter"
    check_export(Path(model["base"] if adapter else model["path"]), spec["formats"], tokenizer=_tokens_folder(model))
    durable.make_folder(artifacts)
    for leftover in durable.sweep(artifacts):
        work.emit(EventType.WARNED, code="leftover-removed", message=f"Half-written {leftover.name} was removed.")
    merged, reference = _merge(work, artifacts / "merged", artifacts / "reference.json")
    made: dict[str, Path] = {}
    for exporter, asked in groupby(sorted(formats, key=lambda f: f.exporter), key=lambda f: f.exporter):
        order = Order(merged=merged, artifacts=artifacts, name=name, formats=tuple(asked), phase=work.phase)
        made |= EXPORTERS.load(exporter)(order)
    return {
        "merged": str(merged),
        "artifacts": [_described(format_, made[format_.name]) for format_ in formats],
        "reference": str(reference),
    }


def _tokens_folder(model: Mapping[str, Any]) -> Path:
    """Where a model's tokenizer is: with it, or else with its base."""
    path = Path(model["path"])
    return path if (path / "tokenizer.json").is_file() or not model.get("base") else Path(model["base"])


def _merge(work: Work, merged: Path, reference: Path) -> tuple[Path, Path]:
    """The merged folder and the reference, which is always there first."""
    if _is_whole(merged) and _is_reference(reference):
        return merged, reference
    if merged.exists():
        durable.remove(merged)
    model, dataset = work.job.inputs["model"], work.job.inputs.get("dataset")
    work.phase("loading the trained model")
    base = Path(model["base"]) if model["kind"] == "adapter" else None
    trained = Trained(Path(model["path"]), base, work.job.device)
    work.phase("asking the trained model")
    durable.write_json(reference, make_reference(trained, Path(dataset) if dataset else None).as_dict())
    work.phase("merging")
    with durable.folder(merged) as staged:
        trained.merge(staged)
    return merged, reference


def _is_whole(folder: Path) -> bool:
    try:
        durable.verify_folder(folder)
    except CorruptFolder:
        return False
    return True


def _is_reference(path: Path) -> bool:
    try:
        read_reference(path)
    except CorruptFolder:
        return False
    return True


def _described(format_: Format, path: Path) -> dict[str, Any]:
    """An artifact; the digest of a folder is that of its manifest."""
    files = list(_files(path))
    digest = durable.sha256_file(path / durable.MANIFEST if path.is_dir() else path)
    size = sum(file.stat().st_size for file in files)
    return {"format": format_.name, "path": str(path), "bytes": size, "sha256": digest}


def _files(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else iter([path])
