"""The job kind ``evaluate``: asks both models, and hands what they said to the light part of this room.

It can be run again at any time: nothing but ``artifacts/answers.jsonl`` is written, and that is replaced whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from appliance import durable
from appliance.data.chat import load_template, load_tokenizer
from appliance.errors import Diverged
from appliance.evaluation.exercise import Exercise, Passage, Sources
from appliance.evaluation.scores import Answered, Measured, Results, answer_lines, evaluation, samples
from appliance.evaluation.tasks import TASKS, Task
from appliance.events import EventType
from appliance.spec import EvaluationSpec
from appliance.work import Work

from .generate import Advance
from .items import Batch, Reader, Said
from .likelihood import supervised
from .models import Tuned, on_both, tuned_model

_PLACES = {"model", "merged", "artifacts"}


def run(work: Work) -> dict[str, Any]:
    """Evaluate a tuned model against its base; see the contract of the kind ``evaluate``."""
    spec = EvaluationSpec(**work.job.spec.get("evaluation", {}))
    model = tuned_model(work.job.inputs["model"], work.job.device)
    work.phase("reading the exercises")
    tokens = model.tokens_folder()
    reader = Reader(load_tokenizer(tokens), load_template(tokens), _positions(model))
    batches = [batch for batch in (reader.batch(task) for task in _tasks(_sources(work, spec))) if len(batch)]
    if reader.skipped:
        work.emit(EventType.WARNED, code="exercises-skipped", message=_skipped(reader.skipped))
    progress = _progress(work, len(batches) and (1 if model.base is None else 2) * sum(map(len, batches)))
    ask = reader.asker(batches, spec.max_new_tokens, progress)
    base, tuned = on_both(model, ask, work.phase) if batches else (None, {})
    work.phase("comparing")
    results = {batch.task: _joined(batch, base, tuned, reader) for batch in batches}
    name = str(work.job.spec.get("name") or work.job.name)
    body = evaluation(name, _name(model.base), results)
    body |= {"skipped": reader.skipped, "max_new_tokens": spec.max_new_tokens}
    return {"evaluation": body, "samples": samples(results), "answers": _keep(work.folder.artifacts, results)}


def _sources(work: Work, spec: EvaluationSpec) -> Sources:
    dataset = work.job.inputs.get("dataset")
    return Sources(
        dataset=Path(dataset) if dataset else None,
        retention=Path(spec.retention) if spec.retention else None,
        limit=spec.limit,
    )


def _tasks(sources: Sources) -> list[tuple[str, Sequence[Exercise], Sequence[Passage]]]:
    """Every task with its items, in the order of the table."""
    found: list[tuple[str, Sequence[Exercise], Sequence[Passage]]] = []
    for name in TASKS:
        task: Task = TASKS.load(name)
        exercises = task.exercises(sources) if task.exercises else []
        passages = task.passages(sources) if task.passages else []
        found.append((name, exercises, passages))
    return found


def _positions(model: Tuned) -> int | None:
    """The most tokens the model can see, from its configuration or its base's."""
    folder = model.base if model.is_adapter else model.path
    config = json.loads((folder / "config.json").read_bytes()) if folder and (folder / "config.json").is_file() else {}
    value = config.get("max_position_embeddings")
    return value if isinstance(value, int) else None


def _progress(work: Work, total: int) -> Advance:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        work.emit(EventType.PROGRESS, done=done, total=total, unit="exercises")
        work.stop.check()

    return advance


def _joined(batch: Batch, base: Said | None, tuned: Said, reader: Reader) -> Sequence[Answered] | Sequence[Measured]:
    """The items of a batch with what both models made of them."""
    after = tuned[batch.task]
    before: Sequence[Any] = base[batch.task] if base else [None] * len(batch)
    if batch.passages:
        _check_finite(batch.task, [*after, *(value for value in before if value is not None)])
        return [
            Measured(passage=passage, tokens=supervised(encoded), tuned=cast(float, one), base=other)
            for passage, encoded, one, other in zip(batch.passages, batch.encoded, after, before, strict=True)
        ]
    return [
        Answered(exercise=exercise, tuned=cast(str, one), base=other)
        for exercise, one, other in zip(batch.exercises, after, before, strict=True)
    ]


def _check_finite(task: str, values: Sequence[Any]) -> None:
    wrong = sum(not math.isfinite(value) for value in values)
    if wrong:
        raise Diverged(
            f"{wrong} of {len(values)} losses of the task '{task}' are not finite numbers.",
            hint="The weights of the tuned or the base model are damaged, or the training diverged: look at its curve.",
        )


def _skipped(skipped: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count} of {task}" for task, count in skipped.items())
    return f"Exercises the model cannot be asked (too long, or refused by its chat template) were left out: {listed}."


def _keep(artifacts: Path, results: Results) -> str:
    """Write every answer to ``answers.jsonl`` and return its path."""
    durable.make_folder(artifacts)
    path = artifacts / "answers.jsonl"
    lines = [json.dumps(line, ensure_ascii=False) for line in answer_lines(results)]
    durable.write_text(path, "".join(f"{line}\n" for line in lines))
    return str(path)


def _name(base: Path | None) -> str | None:
    """A name for the base: its folder's, or that of what the folder belongs to."""
    if base is None:
        return None
    return next((part for part in reversed(base.parts) if part not in _PLACES), base.name)
