"""The worker: ``python -m appliance.work JOBDIR`` runs one attempt of one job of any kind.

It reads the job folder, appends events and writes ``result.json`` as its last act. It knows neither the database
nor the control socket. Run by hand it makes the next attempt folder itself; the shim names one with ``--attempt``.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import Conflict, DiskFull, Interrupted, LuthierError, OutOfMemory
from appliance.events import EventType, EventWriter
from appliance.jobdir import Job, JobDir, is_leased
from appliance.registry import Entry, Registry

logger = logging.getLogger(__name__)

KINDS = Registry(
    "job kind",
    {
        "fetch": Entry("appliance.hub:run", "Fetch a base model from the hub", ("huggingface_hub",)),
        "ingest": Entry("appliance.data.ingest:run", "Take a file in: examples, ledger, split"),
        "plan": Entry("profiles.job:run", "Decide what this machine will do, with reasons"),
        "train": Entry("appliance.training.engine.job:run", "Train", ("torch", "transformers", "peft", "accelerate")),
        "evaluate": Entry("appliance.evaluation.engine.job:run", "Score against the base", ("torch", "transformers")),
        "export": Entry(
            "appliance.export.engine.job:run", "Merge and write artifacts", ("torch", "transformers", "gguf")
        ),
        "parity": Entry("appliance.export.parity:run", "Compare an export's answers with the trained model's"),
        "report": Entry("appliance.evaluation.report:run", "Write the report of a pipeline"),
    },
)


@dataclass
class StopFlag:
    """Set by SIGTERM; work that can stop looks at it at its safe points."""

    requested: bool = False

    def check(self) -> None:
        """Raise ``Interrupted`` when the worker was asked to stop."""
        if self.requested:
            raise Interrupted("The worker was asked to stop.", hint="Resume the job to continue it.")


@dataclass(frozen=True)
class Work:
    """What a kind's ``run(work) -> result`` is given. The result is a dict of JSON values."""

    job: Job
    folder: JobDir
    attempt: int
    emit: Callable[..., None]
    """``emit(EventType.STEP, step=1, …)``; does nothing on ranks other than 0."""
    stop: StopFlag = field(default_factory=StopFlag)

    def phase(self, name: str) -> None:
        """Say what goes on now, and stop here if that was asked."""
        self.emit(EventType.PHASE, name=name)
        self.stop.check()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one attempt; exit status 0 when the result is ok, 74 when the disk has no room to say how it ended."""
    parser = argparse.ArgumentParser(prog="python -m appliance.work", description="Run one attempt of a job.")
    parser.add_argument("folder", type=Path, help="the job folder")
    parser.add_argument("--attempt", type=int, help="number of the attempt (by hand: the next one)")
    options = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    folder = JobDir(options.folder)
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: setattr(stop, "requested", True))
    try:
        with durable.disk_errors(folder.path):
            return _run(folder, options.attempt or _next_attempt(folder), stop)
    except DiskFull as error:
        logger.error(error.message)
        return os.EX_IOERR


def _run(folder: JobDir, number: int, stop: StopFlag) -> int:
    """What this rank does; its exit status."""
    if int(os.environ.get("RANK", "0")) != 0:
        KINDS.load(folder.read().kind)(Work(folder.read(), folder, number, _silent, stop))
        return 0
    result = _attempt(folder, number, stop)
    durable.write_json(folder.result_file(number), result)
    return 0 if result["ok"] else 1


def _next_attempt(folder: JobDir) -> int:
    last = folder.last_attempt()
    if last and is_leased(folder.lease(last)):
        raise Conflict(f"Attempt {last} of {folder.path} is running.", hint="Wait for it, or cancel the job.")
    durable.make_folder(folder.attempt(last + 1))
    return last + 1


def _attempt(folder: JobDir, number: int, stop: StopFlag) -> dict[str, Any]:
    """Run the kind and describe how it ended. One of the four places with a broad ``except``."""
    durable.make_folder(folder.attempt(number))
    events = EventWriter(folder.events, attempt=number)
    try:
        job = folder.read()
        events.emit(EventType.STARTED, kind=job.kind, pid=os.getpid())
        run = KINDS.load(job.kind)
        with durable.disk_errors(folder.path):
            made = run(Work(job, folder, number, events.emit, stop))
        result = {"ok": True, "result": made}
    except LuthierError as error:
        logger.warning("The job ended with a named failure.", extra={"code": error.code})
        result = {"ok": False, "error": error.as_dict()}
    except BaseException as error:
        traceback.print_exc()
        result = {"ok": False, "error": _describe(error)}
    # The result says the same, and may still fit.
    with suppress(DiskFull):
        events.emit(EventType.ENDED, ok=result["ok"], code=None if result["ok"] else result["error"]["code"])
    events.close()
    return result


def _describe(error: BaseException) -> dict[str, Any]:
    """A library's exception, or a bug of ours, as ``luthier.error/1``."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        hint = "Use a smaller micro-batch or sequence length, or method qlora."
        return OutOfMemory(f"Memory ran out: {error}", hint=hint).as_dict()
    hint = "This is a bug of Luthier: the job's log has the traceback, and `luthier job show` its folder."
    return LuthierError(f"{type(error).__name__}: {error}", hint=hint).as_dict() | {"code": "bug"}


def _silent(*_: Any, **__: Any) -> None:
    """Ranks other than 0 tell nothing."""


if __name__ == "__main__":
    raise SystemExit(main())
