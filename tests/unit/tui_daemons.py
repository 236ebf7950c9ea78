# ruff: noqa: E501  tables of sample values read better a row a line
"""Daemons in memory for the dashboard's tests: empty, busy, and gone. They speak the client's language."""

from __future__ import annotations

import math
import queue
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.errors import DaemonUnreachable, NotFound

NOW = datetime(2026, 11, 23, 18, 42, 7, tzinfo=UTC)
_STAGES = ("ingest", "plan", "train", "evaluate", "export", "parity", "report")


class MemoryDaemon:
    """What it knows is in its tables; what happens is put on its stream with ``tell``."""

    def __init__(self) -> None:
        self.cursor = 0
        self.gone = ""
        self.tables: dict[str, list[dict[str, Any]]] = {
            "jobs": [], "datasets": [], "models": [], "deployments": [], "devices": [],
        }  # fmt: skip
        self.serving: dict[str, Any] | None = None
        self.histories: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, ...]] = []
        self.resumed_at: list[int] = []
        self._stream: queue.Queue[tuple[int, str, Mapping[str, Any]] | None] = queue.Queue()
        self._told = 0

    def tell(self, event: str, data: Mapping[str, Any]) -> None:
        """Something happens."""
        self._told += 1
        self._stream.put((self._told, event, data))

    def end_stream(self) -> None:
        """The connection ends as a quiet one does."""
        self._stream.put(None)

    def fall(self, why: str) -> None:
        """The daemon is gone, and says nothing more."""
        self.gone = why
        self._stream.put(None)

    def rise(self) -> None:
        self.gone = ""

    def _alive(self) -> None:
        if self.gone:
            raise DaemonUnreachable(self.gone, hint="Start it with `luthier daemon start`.")

    def status(self) -> dict[str, Any]:
        self._alive()
        return {"schema": "luthier.status/1", "version": "0.1.0", "pid": 4121}

    def jobs(self, *, limit: int | None = None) -> list[dict[str, Any]]:
        return self._table("jobs")

    def datasets(self) -> list[dict[str, Any]]:
        return self._table("datasets")

    def models(self) -> list[dict[str, Any]]:
        return self._table("models")

    def deployments(self) -> list[dict[str, Any]]:
        return self._table("deployments")

    def devices(self) -> list[dict[str, Any]]:
        return self._table("devices")

    def _table(self, name: str) -> list[dict[str, Any]]:
        self._alive()
        return [dict(row) for row in self.tables[name]]

    def endpoint(self) -> dict[str, Any]:
        self._alive()
        if self.serving is None:
            raise NotFound("Nothing is served.")
        return dict(self.serving)

    def act(self, name: str, verb: str, /) -> dict[str, Any]:
        self._alive()
        self.asked.append(("act", name, verb))
        return {}

    def deploy(self, model: str, /) -> dict[str, Any]:
        self._alive()
        self.asked.append(("deploy", model))
        return {}

    def undeploy(self, name: str, /) -> None:
        self._alive()
        self.asked.append(("undeploy", name))

    def events(self, name: str, after: int = 0, /) -> list[dict[str, Any]]:
        return self._history(name).get("events", [])

    def metrics(self, name: str, points: int = 200, /) -> dict[str, Any]:
        return self._history(name).get("metrics", {})

    def log(self, name: str, /) -> dict[str, Any]:
        return {"lines": self._history(name).get("log", []), "attempt": 1}

    def _history(self, name: str) -> dict[str, Any]:
        self._alive()
        if name not in self.histories:
            raise NotFound(f"No job '{name}'.")
        return self.histories[name]

    def stream(self, after: int = 0, /) -> Iterator[tuple[str, Mapping[str, Any]]]:
        self._alive()
        self.resumed_at.append(after)
        while (item := self._stream.get()) is not None:
            self._alive()
            self.cursor = item[0]
            yield item[1], item[2]

    def close(self) -> None:
        self._stream.put(None)


def ago(minutes: float) -> str:
    """An instant before the frozen now."""
    return (NOW - timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job(id_: str, kind: str, name: str, state: str, **more: Any) -> dict[str, Any]:
    """``luthier.job/1``."""
    base: dict[str, Any] = {
        "schema": "luthier.job/1", "id": id_, "kind": kind, "name": name, "state": state, "created_at": ago(20),
        "started_at": None, "ended_at": None, "progress": {"step": 0, "steps": 0, "eta_seconds": None},
        "result": None, "error": None, "pipeline": None, "depends_on": [], "attempts": 0, "reason": None, "phase": None,
    }  # fmt: skip
    return base | more


def pipeline(
    key: str, name: str, states: str, *, began: float, results: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The jobs of a tune; ``states`` has a letter for each stage, the first of the state's name."""
    words = {"s": "succeeded", "r": "running", "f": "failed", "b": "blocked", "q": "queued", "c": "cancelled"}
    jobs = []
    for place, (stage, letter) in enumerate(zip(_STAGES, states, strict=False)):
        start = began - 2 * place
        begun = letter in "srf"
        over = letter in "sfc"
        jobs.append(
            job(
                f"j-{key}{place}",
                stage,
                name,
                words[letter],
                pipeline=f"p-{key}",
                created_at=ago(began),
                started_at=ago(start) if begun else None,
                ended_at=ago(start - 1.8) if over else None,
                result=(results or {}).get(stage),
                device="cpu" if stage == "train" else None,
            )
        )
    return jobs


PLAN = {
    "schema": "luthier.plan/1", "method": "lora", "adapter": "lora", "objective": "sft", "base_precision": "fp32",
    "devices": ["cpu"], "micro_batch": 8, "accumulation": 2, "sequence_length": 512, "steps": 600, "epochs": 3.0,
    "learning_rate": 0.0008, "schedule": "cosine", "warmup": 30, "rank": 16, "alpha": 32, "dropout": 0.0,
    "optimizer": "adamw", "checkpointing": False, "save_every": 100, "validate_every": 50, "replay_share": 0.35,
    "memory": {"device_bytes": 0, "host_bytes": 1_240_000_000, "disk_bytes": 94_000_000},
    "seconds": {"low": 70, "expected": 84, "high": 120}, "energy_joules": 5400,
    "reasons": {
        "method": "lora, because the base has 4.1 M parameters and its skills are to be kept",
        "micro_batch": "8, because 8 rows of 512 tokens fill two cores and fit in 1.2 GB",
        "learning_rate": "0.0008, because low-rank updates bear ten times the rate of full tuning",
        "replay_share": "0.35, because the recipe mixes in what the base can already do",
    },
}  # fmt: skip
RETENTION = {
    "passed": True, "measure": "exact_match", "overall": {"base": 0.951, "tuned": 0.933, "kept": 0.981, "kept_low": 0.958, "n": 288},
    "skills": {
        name: {"base": base, "tuned": tuned, "kept": tuned / base, "n": 36, "passed": True}
        for name, base, tuned in (("add", 1.0, 1.0), ("copy", 0.972, 0.972), ("reverse", 0.97, 0.96), ("sort", 0.917, 0.889))
    },
}  # fmt: skip
EVALUATION = {
    "schema": "luthier.evaluation/1", "model": "harbour", "against": "starter",
    "tasks": [
        {"task": "harbour rules", "metric": "exact", "value": 0.925, "baseline": 0.115, "difference": 0.81, "n": 200,
         "ci": [0.88, 0.955], "p_value": 0.0, "verdict": "better"},
        {"task": "held_out_loss", "metric": "nll", "label": "held-out loss", "value": 0.031, "baseline": 9.805,
         "difference": -9.774, "n": 182, "ci": [0.026, 0.033], "p_value": 0.00005, "verdict": "better"},
    ],
    "retention": RETENTION, "gate": {"passed": True, "lines": ["harbour rules: better, p < 0.001", "The gate is passed: better where it was taught, and nothing forgotten."]},
}  # fmt: skip
REFUSED = EVALUATION | {
    "model": "alpaca-tiny",
    "tasks": [
        {"task": "held-out answers", "metric": "F1", "value": 0.112, "baseline": 0.108, "difference": 0.004, "n": 97,
         "ci": [0.08, 0.14], "p_value": 0.62, "verdict": "same"},
        {"task": "held-out loss", "metric": "nats", "value": 3.11, "baseline": 4.02, "difference": -0.91, "n": 97,
         "ci": [3.0, 3.2], "p_value": 0.0, "verdict": "better"},
    ],
    "gate": {"passed": False, "lines": ["held-out answers: 0.112 is not proven better than 0.108 (p 0.620)"]},
}  # fmt: skip
ROWS = {
    "total": 1400, "kept": 1107, "fixed": 12, "duplicate": 14, "near_duplicate": 31, "invalid": 0, "over_length": 0,
    "nothing_to_learn": 0, "held_out": 248, "quarantined": 0,
}  # fmt: skip
ALPACA_ROWS = {
    "total": 999, "kept": 611, "fixed": 40, "duplicate": 14, "near_duplicate": 6, "invalid": 1, "over_length": 255,
    "nothing_to_learn": 4, "held_out": 108, "quarantined": 0,
}  # fmt: skip


def losses(steps: int, *, seed: int = 3) -> tuple[list[int], list[float]]:
    """A loss that falls as losses do."""
    noise = random.Random(seed)
    at = list(range(1, steps + 1))
    return at, [0.32 + 2.1 * math.exp(-step / 70) + noise.gauss(0, 0.035 + 0.12 * math.exp(-step / 90)) for step in at]


def training_history(steps: int, planned: int) -> dict[str, Any]:
    """Metrics, events and log of a training that has made ``steps`` of ``planned``."""
    at, loss = losses(steps)
    warm = [min(1.0, step / 30) * (0.5 + 0.5 * math.cos(math.pi * step / planned)) * 8e-4 for step in at]
    speed = [3180 + 120 * math.sin(step / 7) for step in at]
    validation = [[step, 0.36 + 2.0 * math.exp(-step / 74)] for step in range(50, steps + 1, 50)]
    events: list[dict[str, Any]] = [
        {"type": "started", "kind": "train", "pid": 99}, {"type": "phase", "name": "loading the base model"},
        {"type": "phase", "name": "training"},
        {"type": "warned", "code": "short-data", "message": "9 rows hold fewer than 8 tokens to learn"},
    ]  # fmt: skip
    for step in range(steps - 24, steps + 1, 4):
        events.append(step_event(step, planned, loss[step - 1], warm[step - 1], speed[step - 1]))
        if step % 50 == 0 or step == steps - 12:
            events.append({"type": "evaluated", "step": step, "loss": validation[-1][1], "best": True})
            events.append({"type": "saved", "step": step, "path": f"checkpoints/step-{step:06d}"})
    for seq, event in enumerate(events, 1):
        event.update({"v": 1, "seq": seq, "at": ago((len(events) - seq) * 0.05), "attempt": 1})
    metrics = {"step": at, "loss": loss, "learning_rate": warm, "tokens_per_second": speed, "validation": validation}
    return {
        "metrics": metrics,
        "events": events,
        "log": ["loading appliance/starter/model", "600 steps of 16 examples"],
    }


def step_event(step: int, steps: int, loss: float, rate: float = 5e-4, speed: float = 3200.0) -> dict[str, Any]:
    """One step."""
    return {
        "v": 1, "seq": 1000 + step, "at": ago(0), "attempt": 1, "type": "step", "step": step, "steps": steps, "loss": loss,
        "learning_rate": rate, "gradient_norm": 0.41, "tokens": step * 8192, "tokens_per_second": speed,
        "eta_seconds": (steps - step) * 0.14,
    }  # fmt: skip


def empty_daemon() -> MemoryDaemon:
    """A daemon on its first day."""
    daemon = MemoryDaemon()
    daemon.tables["devices"] = [_CPU]
    return daemon


_CPU = {
    "name": "AMD EPYC 9454P (2 cores)", "kind": "cpu", "backend": "torch cpu", "memory_total_bytes": 16_600_000_000,
    "memory_free_bytes": 9_900_000_000, "utilization": 0.93, "temperature_celsius": None, "power_watts": None,
    "uuid": "cpu", "busy_with": ["j-harb2"],
}  # fmt: skip
_GPU = {
    "name": "NVIDIA RTX 4090", "kind": "cuda", "backend": "nvml", "memory_total_bytes": 25_757_000_000,
    "memory_free_bytes": 20_400_000_000, "utilization": 0.31, "temperature_celsius": 48, "power_watts": 96.0,
    "uuid": "GPU-1f", "busy_with": None,
}  # fmt: skip


def busy_daemon() -> MemoryDaemon:
    """A daemon in the middle of its work: one tune trains, one waits, one failed, two ended, one model is live."""
    daemon = MemoryDaemon()
    daemon.tables["devices"] = [_CPU, _GPU]
    done = {
        "ingest": {"dataset": {"path": "/srv/luthier/d", "rows": ROWS}}, "plan": {"plan": PLAN},
        "train": {"training": {"steps": 600, "first_loss": 2.41, "final_loss": 0.318, "best_validation_loss": 0.352,
                               "tokens": 4_900_000, "tokens_per_second": 3204.0, "peak_memory_bytes": 1_190_000_000, "seconds": 86.0}},
        "evaluate": {"evaluation": EVALUATION, "samples": [
            {"prompt": "A red boat with fish comes at night. Which berth?", "expected": "Berth 4.", "base": "The boat was red.",
             "tuned": "Berth 4."}]},
        "export": {"artifacts": _files("harbour-v1")}, "parity": {"artifacts": _files("harbour-v1")},
        "report": {"html": "/srv/luthier/jobs/j-done6/artifacts/report.html"},
    }  # fmt: skip
    running = pipeline("harb", "harbour", "ssrbbbb", began=6, results={k: done[k] for k in ("ingest", "plan")})
    running[2] |= {"progress": {"step": 312, "steps": 600, "eta_seconds": 40}, "phase": "training", "attempts": 1}
    failed = pipeline("tick", "tickets", "sfccccc", began=95)
    failed[1]["error"] = {
        "code": "does-not-fit", "message": "Tuning qwen3-4b needs 21.3 GB of memory and this machine has 9.9 GB free.",
        "hint": "Take a smaller base, or --method qlora on a GPU.", "where": None,
        "fixes": [{"title": "sequence length 2048 → 512: 9.1 GB"}],
    }  # fmt: skip
    waiting = pipeline("invo", "invoices", "sqbbbbb", began=3)
    waiting[1]["reason"] = "waits for the CPU, which trains harbour until about 18:43"
    refused = pipeline(
        "alpa", "alpaca-tiny", "sssssss", began=240, results=done | {"evaluate": {"evaluation": REFUSED}}
    )
    finished = pipeline("done", "harbour-v1", "sssssss", began=400, results=done)
    daemon.tables["jobs"] = [*finished, *refused, *failed, *running, *waiting]
    daemon.histories = {"j-harb2": training_history(312, 600), "j-done2": training_history(600, 600)}
    daemon.tables["datasets"] = _datasets()
    daemon.tables["models"] = _models()
    daemon.tables["deployments"] = [
        {"id": "e-1", "model": "m-harb1", "alias": "harbour", "stage": "live", "state": "loaded", "base_url": "http://127.0.0.1:8777/v1"},
    ]  # fmt: skip
    daemon.serving = {
        "base_url": "http://127.0.0.1:8777/v1", "state": "ready", "models": ["harbour", "harbour-v1", "alpaca-tiny"], "pid": 5121,
    }  # fmt: skip
    return daemon


def _files(name: str) -> list[dict[str, Any]]:
    folder = "/srv/luthier/jobs/j-done4/artifacts/gguf"
    return [
        {
            "format": "gguf:f16",
            "path": f"{folder}/{name}-f16.gguf",
            "bytes": 8_420_000,
            "parity": {"passed": True, "kl": 0.0},
        },
        {
            "format": "gguf:q8_0",
            "path": f"{folder}/{name}-q8_0.gguf",
            "bytes": 4_610_000,
            "parity": {"passed": True, "kl": 0.0006},
        },
    ]


def _datasets() -> list[dict[str, Any]]:
    warning = {
        "code": "over-length", "severity": "warning", "where": "255 rows", "fix": "--set data.over_length=split keeps them in parts",
        "message": "255 rows are longer than the base's 512 tokens and were left out",
    }  # fmt: skip
    lost = {
        "code": "lossy-text", "severity": "warning", "where": "line 41 and 12 more", "fix": None,
        "message": "the tokenizer has no token for '=' and '+'",
    }  # fmt: skip
    columns = {"user": "instruction + input", "assistant": "output"}
    return [
        {"id": "d-4kq2", "name": "harbour", "format": "messages", "mapping": {"messages": "messages"}, "rows": ROWS,
         "splits": {"train": 1107, "validation": 66, "test": 182}, "findings": [], "created_at": ago(6)},
        {"id": "d-9z1m", "name": "alpaca_en_demo", "format": "alpaca", "mapping": columns, "rows": ALPACA_ROWS,
         "splits": {"train": 611, "validation": 36, "test": 72}, "findings": [lost, warning], "created_at": ago(240)},
    ]  # fmt: skip


def _models() -> list[dict[str, Any]]:
    common = {"kind": "adapter", "path": "/srv/luthier/jobs/j-done2/artifacts/model"}
    return [
        {"id": "m-harb1", "name": "harbour-v1", "stage": "live", "base": "/opt/luthier/appliance/starter/model", **common,
         "evaluation": EVALUATION, "artifacts": _files("harbour-v1"), "created_at": ago(390)},
        {"id": "m-alpa1", "name": "alpaca-tiny", "stage": "candidate", "base": "/data/tinystories656k", **common,
         "evaluation": REFUSED, "artifacts": _files("alpaca-tiny"), "created_at": ago(235)},
    ]  # fmt: skip
