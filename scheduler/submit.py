"""Requests become rows: everything that can be checked without reading a file of somebody else's is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlmodel import Session

from appliance import spec as specs
from appliance.errors import FileNotFound, InvalidSpec, NotFound, UsageError
from appliance.settings import Settings
from appliance.work import KINDS
from profiles.methods import check_method
from scheduler import ids
from scheduler.bases import HUB, resolve_base
from scheduler.store import lookup, things
from scheduler.store.tables import DatasetRow, JobRow, ModelRow, PipelineRow


def new_pipeline(session: Session, asked: Mapping[str, Any], settings: Settings) -> PipelineRow:
    """A pipeline row for a tune. Raises every kind of refusal there is, before anything is stored."""
    spec = specs.parse(asked)
    check_method(spec.training.method)
    data, source = _data(session, spec.data)
    for path in (data.replay, spec.evaluation.retention):
        _existing(path)
    base = resolve_base(session, spec.base.model, offline=settings.network.offline)
    formats = checked_formats(spec.export.formats or settings.export.formats)
    name = ids.check_name(spec.name or ids.name_from(source), "tune")
    if spec.serve.alias is not None:
        ids.check_name(spec.serve.alias, "model on the endpoint")
    spec = replace(spec, name=name, data=data, export=replace(spec.export, formats=formats))
    body = spec.as_dict()
    body["export"]["formats"] = list(formats)
    return PipelineRow(id=ids.new_id(ids.PIPELINE), name=name, spec=body, base=base)


def new_job(session: Session, asked: Mapping[str, Any], settings: Settings) -> JobRow:
    """A row for one job alone; ``inputs`` may name datasets and models of this installation."""
    kind = str(asked.get("kind"))
    KINDS[kind]
    given = dict(asked.get("inputs") or {})
    spec = dict(asked.get("spec") or {})
    source = kind
    if kind == "ingest":
        parsed, source = _data(session, specs.parse({"data": spec.get("data") or {}}).data)
        spec["data"] = replace(specs.TuneSpec(), data=parsed).as_dict()["data"]
        spec.setdefault("sequence_length", None)
    elif kind == "evaluate":
        section = specs.parse({"evaluation": spec.get("evaluation") or {}})
        _existing(section.evaluation.retention)
        spec["evaluation"] = section.as_dict()["evaluation"]
    elif kind in ("export", "parity"):
        spec["formats"] = list(checked_formats(tuple(spec.get("formats") or settings.export.formats)))
    given = _inputs(session, kind, given, offline=settings.network.offline)
    name = ids.check_name(
        str(asked.get("name") or spec.get("name") or given.pop("_name", None) or ids.name_from(source)), "job"
    )
    given.pop("_name", None)
    spec["name"] = name
    row = JobRow(id=ids.new_id(ids.JOB), kind=kind, name=name, state="", spec=spec, inputs=given)
    row.depends_on = [lookup.find(session, JobRow, key, "job").id for key in asked.get("depends_on") or ()]
    row.priority = int(asked.get("priority") or 0)
    return row


def new_model(session: Session, path: str, name: str) -> ModelRow:
    """A row for a local model folder that is added by hand."""
    ids.check_name(name, "model")
    folder = resolve_base(session, str(Path(path).expanduser().absolute()), offline=True)
    unique = things.free_model_name(session, name)
    return ModelRow(id=ids.new_id(ids.MODEL), name=unique, kind="full", path=folder, base=folder)


def present(base: str) -> str:
    """The base, if it is on this machine: a job alone fetches nothing. Raises ``NotFound``."""
    if base.startswith(HUB):
        name = base.removeprefix(HUB)
        raise NotFound(f"'{name}' is not on this machine yet.", hint=f"`luthier tune … --base {name}` fetches it.")
    return base


def checked_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    """The formats, if each can be written. Raises ``UnknownName`` with the nearest."""
    from appliance.export.formats import parse_formats

    return tuple(format_.name for format_ in parse_formats(formats))


def _data(session: Session, data: specs.DataSpec) -> tuple[specs.DataSpec, str]:
    """Where the examples are, absolute, and a name for them. A dataset here is taken in again from its source."""
    if (data.path is None) == (data.dataset is None):
        raise InvalidSpec("data: give either data.path, a file, or data.dataset, a dataset taken in before.")
    if data.path is not None:
        return data, Path(_existing(data.path)).stem
    row = lookup.find(session, DatasetRow, str(data.dataset), "dataset")
    body = row.body
    source = Path(row.path) / "source"
    if not source.exists():
        raise FileNotFound(f"Dataset {row.id} has lost its source file {source}.", where=str(source))
    chosen = body.get("format") if data.format == "auto" else data.format
    mapping = dict(data.mapping) or dict(body.get("mapping") or {})
    return replace(data, path=str(source), dataset=row.id, format=str(chosen or "auto"), mapping=mapping), row.name


def _existing(path: str | None) -> str:
    """The path, if there is a regular file. Raises ``FileNotFound``."""
    if path is None:
        return ""
    file = Path(path).expanduser()
    if not file.is_absolute():
        raise UsageError(
            f"The path {path!r} is relative; the daemon does not know to what.", hint="Give an absolute path."
        )
    if not file.is_file():
        what = (
            "is a folder, not a file" if file.is_dir() else "does not exist" if not file.exists() else "is not a file"
        )
        raise FileNotFound(f"{file} {what}.", where=str(file))
    return str(file)


def _inputs(session: Session, kind: str, given: dict[str, Any], *, offline: bool) -> dict[str, Any]:
    """Names of things here become what workers are given: paths."""
    inputs = dict(given)
    if isinstance(given.get("base"), str):
        inputs["base"] = present(resolve_base(session, given["base"], offline=offline))
    elif kind == "ingest":
        inputs["base"] = None
    model = given.get("model")
    if isinstance(model, str):
        row = lookup.find(session, ModelRow, model, "model")
        inputs |= _of_model(row, kind)
        if given.get("dataset") is None and row.dataset is not None:
            given["dataset"] = row.dataset
    dataset = given.get("dataset")
    if isinstance(dataset, str) and not Path(dataset).is_absolute():
        inputs["dataset"] = lookup.find(session, DatasetRow, dataset, "dataset").path
    elif kind in ("evaluate", "export"):
        inputs.setdefault("dataset", None)
    return inputs


def _of_model(row: ModelRow, kind: str) -> dict[str, Any]:
    model = {"path": row.path, "kind": row.kind, "base": row.base}
    if kind != "parity":
        return {"model": model, "_name": row.name}
    if not row.exported:
        raise NotFound(f"'{row.name}' has no export to compare.", hint=f"`luthier model export {row.name}` makes one.")
    return {**row.exported, "model": model, "tokenizer": row.exported.get("merged"), "_name": row.name}
