"""A worker with made-up kinds, for tests of the scheduler: run by the real shim, it is the real ``appliance.work``.

The kinds bear the names of real ones, so that placement and pipelines treat them alike, and do what ``spec`` says.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from appliance import durable, work
from appliance.errors import DataRejected
from appliance.events import EventType
from appliance.jobdir import JobDir
from appliance.registry import Entry, Registry
from appliance.work import Work

STEPS = 20


def steps(work_: Work) -> dict[str, Any]:
    """Count to ``steps``, saving a checkpoint at each; begins again where the newest checkpoint is."""
    spec = work_.job.spec.get("training") or work_.job.spec
    total, pause = int(spec.get("steps") or STEPS), float(os.environ.get("TEST_STEP_SECONDS", "0.05"))
    durable.sweep(work_.folder.checkpoints)
    saved = sorted(work_.folder.checkpoints.glob("step-*"))
    first = int(saved[-1].name.removeprefix("step-")) if saved else 0
    for step in range(first + 1, total + 1):
        time.sleep(pause)
        work_.emit(EventType.STEP, step=step, steps=total, loss=1 / step, learning_rate=0.1, tokens_per_second=1.0)
        with durable.folder(work_.folder.checkpoints / f"step-{step:06d}") as folder:
            (folder / "at.json").write_text(json.dumps({"step": step}))
        work_.emit(EventType.SAVED, step=step, path=str(folder))
        work_.stop.check()
    return {"resumed_from": first, "attempt": work_.attempt, "steps": total}


def ingest(work_: Work) -> dict[str, Any]:
    misbehave(work_)
    folder = work_.folder.artifacts / "dataset"
    if not folder.exists():
        with durable.folder(folder) as staged:
            (staged / "source").write_text("{}")
            (staged / "ledger.jsonl").write_text('{"row": 1, "state": "kept"}\n{"row": 2, "state": "duplicate"}\n')
    return {"dataset": {"path": str(folder), "format": "messages", "mapping": {}, "rows": {"total": 2}}}


def misbehave(work_: Work) -> None:
    """Do what the test asked for through the name of the job."""
    name = work_.job.name
    if name.startswith("reject"):
        raise DataRejected("Every row is empty.", hint="Give another file.", where="rows.jsonl")
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("bug"):
        raise ZeroDivisionError("a bug")
    if name.startswith("odd"):
        durable.write_json(work_.folder.result_file(work_.attempt), {"ok": True, "result": {"dataset": 7}})
        os._exit(0)
    if name.startswith("sleep"):
        for _ in range(600):
            time.sleep(0.1)
            work_.stop.check()
    if name.startswith("deaf"):
        time.sleep(600)
    if name.startswith("fork"):
        orphan()


def orphan() -> None:
    """Leave a grandchild in its own session behind, that ignores SIGTERM."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)


def plan(work_: Work) -> dict[str, Any]:
    return {"plan": {"devices": ["cpu"], "steps": 5, "read": sorted(work_.job.inputs)}}


def train(work_: Work) -> dict[str, Any]:
    misbehave(work_)
    told = steps(work_)
    folder = work_.folder.artifacts / "model"
    if not folder.exists():
        with durable.folder(folder) as staged:
            (staged / "adapter.json").write_text("{}")
    model = {"path": str(folder), "kind": "adapter", "base": work_.job.inputs.get("base"), "adapter": "lora"}
    return {"model": model, "training": told | {"plan": dict(work_.job.plan)}}


def evaluate(work_: Work) -> dict[str, Any]:
    passed = "candidate" not in work_.job.name
    return {"evaluation": {"gate": {"passed": passed, "lines": []}, "tasks": []}, "samples": []}


def export(work_: Work) -> dict[str, Any]:
    made = [
        {"format": name, "path": f"/made/{name}", "bytes": 100 - len(name), "sha256": ""}
        for name in work_.job.spec["formats"]
    ]
    return {"merged": "/made/merged", "artifacts": made, "reference": "/made/reference.json"}


def parity(work_: Work) -> dict[str, Any]:
    made = [{**artifact, "parity": {"passed": True}} for artifact in work_.job.inputs["artifacts"]]
    return {"artifacts": made}


def report(work_: Work) -> dict[str, Any]:
    told = {"question": work_.job.spec.get("question"), "answer": "yes", "endpoint": work_.job.inputs["endpoint"]}
    return {"html": "/made/report.html", "markdown": "/made/report.md", **told}


def serve(folder: JobDir, attempt: int) -> None:
    """An inference server that loads whatever it is told to, except what is called bad."""
    from appliance.events import EventWriter

    events = EventWriter(folder.events, attempt=attempt)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    events.emit(EventType.READY, url="http://127.0.0.1:1")
    known: set[str] = set()
    while not stopped:
        told = {model["id"] for model in json.loads((folder.path / "models.json").read_text())["models"]}
        for name in told - known:
            events.emit(EventType.LOADED, model=name, ok="bad" not in name, message="It is bad.")
        for name in known - told:
            events.emit(EventType.UNLOADED, model=name)
        known = told
        time.sleep(0.05)
    durable.write_json(folder.result_file(attempt), {"ok": True, "result": {}})


KINDS = ("ingest", "plan", "train", "evaluate", "export", "parity", "report")


def main() -> int:
    folder = JobDir(Path(sys.argv[1]))
    if folder.read().kind == "serve":
        serve(folder, int(sys.argv[3]))
        return 0
    sys.modules["scheduler_worker"] = sys.modules["__main__"]
    made_up = {name: Entry(f"scheduler_worker:{name}", "for tests") for name in KINDS}
    work.KINDS = Registry("job kind", {"fetch": work.KINDS["fetch"], **made_up})
    return work.main()


if __name__ == "__main__":
    raise SystemExit(main())
