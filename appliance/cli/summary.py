"""What a finished job came to, in one line, and what a whole tune came to, in a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.cli.curve import count_text, number_text, share_text
from appliance.text import bytes_text, duration_text

Body = Mapping[str, Any]
TERMINAL = ("succeeded", "failed", "cancelled")


def result_line(job: Body) -> str:
    """One line about what a job made; empty when its kind says nothing of itself."""
    result = job.get("result") or {}
    tell = _TELLERS.get(str(job.get("kind")))
    return tell(result) if tell and result else ""


def seconds_of(job: Body) -> float | None:
    """How long a job ran, until now when it still runs."""
    start, end = _moment(job.get("started_at")), _moment(job.get("ended_at"))
    if start is None:
        return None
    return ((end or datetime.now(start.tzinfo)) - start).total_seconds()


def rows_line(dataset: Body) -> str:
    """What became of the rows of a dataset.

    >>> rows_line({"rows": {"total": 10, "kept": 7, "duplicate": 1, "held_out": 2}, "splits": {"train": 7}})
    '10 rows: 7 to train · 1 duplicate'
    """
    rows, splits = dataset.get("rows") or {}, dataset.get("splits") or {}
    parts = [f"{splits.get('train', rows.get('kept', 0)):,} to train"]
    parts += [f"{splits[name]:,} {name}" for name in ("validation", "test") if splits.get(name)]
    lost = ("duplicate", "near_duplicate", "invalid", "over_length", "nothing_to_learn", "quarantined")
    parts += [f"{rows[state]:,} {state.replace('_', ' ')}" for state in lost if rows.get(state)]
    return f"{rows.get('total', 0):,} rows: " + " · ".join(parts)


def plan_line(plan: Body) -> str:
    """The heart of a plan."""
    rank = f" rank {plan['rank']}" if plan.get("rank") else ""
    batch = (plan.get("micro_batch") or 0) * (plan.get("accumulation") or 1)
    seconds = (plan.get("seconds") or {}).get("expected")
    devices = ", ".join(plan.get("devices") or ())
    time = f", about {duration_text(seconds)}" if seconds is not None else ""
    return f"{plan.get('method')}{rank}, {number_text(plan.get('steps'))} steps of {batch} on {devices}{time}"


def gate_line(evaluation: Body) -> str | None:
    """The gate's verdict."""
    gate = evaluation.get("gate")
    if not gate:
        return None
    return "passed" if gate.get("passed") else "says no"


def artifact_line(artifact: Body) -> str:
    """One artifact with its size and whether it answers like the model it came from."""
    parity = artifact.get("parity") or {}
    proven = {True: ", same answers", False: ", answers differ"}.get(bool(parity.get("passed"))) if parity else ""
    return f"{artifact.get('format')} {bytes_text(artifact.get('bytes'))}{proven or ''}"


def tune_pairs(tune: Body) -> Iterator[tuple[str, str | None]]:
    """A finished tune, as labels and values."""
    evaluation = tune.get("evaluation") or {}
    for number, line in enumerate((evaluation.get("gate") or {}).get("lines") or ()):
        yield ("proof" if number == 0 else "", f"· {line}")
    yield ("model", _model_text(tune.get("model")))
    for number, artifact in enumerate(tune.get("artifacts") or ()):
        yield ("artifacts" if number == 0 else "", f"{artifact_line(artifact)}  {artifact.get('path')}")
    report = tune.get("report") or {}
    yield ("report", report.get("html"))
    yield ("", report.get("markdown"))
    if deployment := tune.get("deployment"):
        yield ("endpoint", f"{deployment.get('base_url')}  model {deployment.get('model')}")


def _model_text(model: Any) -> str | None:
    if isinstance(model, Mapping):
        return str(model.get("name") or model.get("id") or model.get("path"))
    return str(model) if model else None


def _ingest(result: Body) -> str:
    return rows_line(result.get("dataset") or {})


def _plan(result: Body) -> str:
    return plan_line(result.get("plan") or {})


def _train(result: Body) -> str:
    done = result.get("training") or {}
    loss = f"loss {number_text(done.get('first_loss'))} → {number_text(done.get('final_loss'))}"
    return f"{number_text(done.get('steps'))} steps, {loss}, {count_text(done.get('tokens_per_second'))} tok/s"


def _evaluate(result: Body) -> str:
    evaluation = result.get("evaluation") or {}
    tasks: Sequence[Body] = evaluation.get("tasks") or ()
    # What was shown to be better or worse says more than what showed no difference.
    told = [task for task in tasks if task.get("verdict") in ("better", "worse")] or tasks
    parts = []
    for task in told[:1]:
        name = str(task.get("label") or task.get("metric")).replace("_", " ")
        parts.append(f"{name} {share_text(task.get('baseline'))} → {share_text(task.get('value'))}")
    if verdict := gate_line(evaluation):
        parts.append(f"gate {verdict}")
    return ", ".join(parts)


def _export(result: Body) -> str:
    return " · ".join(f"{item.get('format')} {bytes_text(item.get('bytes'))}" for item in result.get("artifacts") or ())


def _parity(result: Body) -> str:
    return " · ".join(
        f"{item.get('format')} {'same answers' if (item.get('parity') or {}).get('passed') else 'answers differ'}"
        for item in result.get("artifacts") or ()
    )


def _report(result: Body) -> str:
    return Path(str(result.get("html") or result.get("markdown") or "")).name


_TELLERS: dict[str, Callable[[Body], str]] = {
    "ingest": _ingest,
    "plan": _plan,
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
    "parity": _parity,
    "report": _report,
}


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
