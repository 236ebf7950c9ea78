"""Everything a report tells, gathered from the results of a pipeline's jobs and from the train job's folder.

A part that is not there (a pipeline without export, a job run alone) is empty, never an error: the report of an
incomplete pipeline is a shorter report.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.errors import LuthierError
from appliance.events import read_events
from appliance.jobdir import Job, JobDir

LIBRARIES = ("luthier", "torch", "transformers", "peft", "accelerate", "tokenizers", "gguf", "llama-cpp-python")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What the events of a training tell, in steps."""

    loss: Sequence[tuple[int, float]] = ()
    learning_rate: Sequence[tuple[int, float]] = ()
    validation: Sequence[tuple[int, float]] = ()
    warnings: Sequence[str] = ()
    seconds: float | None = None
    """From the first event to the last, waiting between attempts included."""
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The material of one report."""

    name: str
    pipeline: str | None
    written_at: str
    dataset: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, Any]] = ()
    answers: str | None = None
    artifacts: Sequence[Mapping[str, Any]] = ()
    merged: str | None = None
    endpoint: Mapping[str, Any] | None = None
    question: str | None = None
    answer: str | None = None
    unanswered: str | None = None
    """Why there is no answer although one was asked for."""
    curve: Curve = field(default_factory=Curve)
    job: Job | None = None
    """The train job."""
    weights_sha256: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""


def gather(job: Job, written_at: str) -> Facts:
    """The facts of a report job; the question is not asked yet."""
    results = {name: part for name, part in job.inputs.items() if isinstance(part, Mapping)}
    train, evaluated = results.get("train", {}), results.get("evaluate", {})
    exported = results.get("export", {})
    folder = job.inputs.get("train_folder")
    model = _mapping(train.get("model"))
    return Facts(
        name=str(job.spec.get("name") or job.name),
        pipeline=job.spec.get("pipeline") or job.pipeline,
        written_at=written_at,
        dataset=_mapping(results.get("ingest", {}).get("dataset")),
        plan=_mapping(results.get("plan", {}).get("plan")),
        training=_mapping(train.get("training")),
        model=model,
        evaluation=_mapping(evaluated.get("evaluation")),
        samples=evaluated.get("samples") or (),
        answers=evaluated.get("answers"),
        artifacts=results.get("parity", {}).get("artifacts") or exported.get("artifacts") or (),
        merged=exported.get("merged"),
        endpoint=results.get("endpoint"),
        question=job.spec.get("question"),
        curve=read_curve(JobDir(folder).events) if folder else Curve(),
        job=_train_job(folder),
        weights_sha256=_weights(model.get("path")),
        versions=installed(),
        machine=f"{platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}",
    )


def read_curve(events: Path) -> Curve:
    """The curve of a training. A step that was done again after an interruption counts once, the last time."""
    loss: dict[int, float] = {}
    rate: dict[int, float] = {}
    validation: dict[int, float] = {}
    warnings: dict[str, None] = {}
    times: list[str] = []
    attempts = set()
    for event in read_events(events):
        times.append(str(event.get("at")))
        attempts.add(event.get("attempt"))
        step = event.get("step")
        if event["type"] == "step" and isinstance(step, int):
            _note(loss, step, event.get("loss"))
            _note(rate, step, event.get("learning_rate"))
        elif event["type"] == "evaluated" and isinstance(step, int):
            _note(validation, step, event.get("loss"))
        elif event["type"] == "warned":
            warnings[str(event.get("message"))] = None
    return Curve(
        loss=sorted(loss.items()),
        learning_rate=sorted(rate.items()),
        validation=sorted(validation.items()),
        warnings=list(warnings),
        seconds=_between(times),
        attempts=len(attempts),
    )


def installed() -> dict[str, str]:
    """The versions of the libraries a result depends on, without importing any."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _note(points: dict[int, float], step: int, value: Any) -> None:
    if isinstance(value, int | float):
        points[step] = float(value)


def _between(times: Sequence[str]) -> float | None:
    try:
        return (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()
    except (IndexError, ValueError):
        return None


def _train_job(folder: str | None) -> Job | None:
    if not folder:
        return None
    try:
        return JobDir(folder).read()
    except LuthierError:
        return None


def _weights(path: Any) -> str | None:
    """The digest of the trained weights, as the manifest beside them says."""
    if not isinstance(path, str):
        return None
    try:
        files = json.loads((Path(path) / "MANIFEST.json").read_bytes())["files"]
        return next((str(files[name]["sha256"]) for name in sorted(files) if name.endswith(".safetensors")), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
