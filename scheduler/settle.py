"""What an ended attempt means for its job.

Pure: the worker's result, the shim's record and the wishes in, a verdict out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import DiskFull, Interrupted, WorkerDied
from appliance.states import JobState

MOST_FRUITLESS = 3
"""Attempts in a row without a new checkpoint after which a job is given up."""
MOST_FRUITLESS_SERVE = 5


@dataclass(frozen=True, kw_only=True)
class Ended:
    """All that is known of an attempt that ended."""

    kind: str
    result: Mapping[str, Any] | None
    """``result.json``, None when the worker did not get that far."""
    exit: Mapping[str, Any] | None
    """``exit.json``, None when the shim was killed too."""
    cancel_requested: bool = False
    pause_requested: bool = False
    fruitless: int = 0
    """Fruitless attempts before this one."""
    progressed: bool = False
    """Whether this attempt saved a new checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Where the job goes."""

    state: JobState
    outcome: str
    """ok, or a code."""
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    fruitless: int = 0


def judge(ended: Ended) -> Verdict:
    """The state an ended attempt leads to; QUEUED means: interrupted, and to be continued."""
    result = ended.result
    if result is not None and result.get("ok"):
        made = result.get("result")
        return Verdict(state=JobState.SUCCEEDED, outcome="ok", result=made if isinstance(made, dict) else {})
    error = dict(result.get("error") or {}) if result is not None else _no_room(ended.exit)
    if error is not None and error.get("code") != Interrupted.code:
        return Verdict(state=JobState.FAILED, outcome=str(error.get("code")), error=error)
    outcome = Interrupted.code if error is not None else WorkerDied.code
    if ended.cancel_requested:
        return Verdict(state=JobState.CANCELLED, outcome=outcome)
    if ended.pause_requested:
        return Verdict(state=JobState.PAUSED, outcome=outcome)
    if error is not None:
        return Verdict(state=JobState.QUEUED, outcome=outcome, fruitless=ended.fruitless)
    return _died(ended)


def _no_room(exit_record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A worker that could not even write its result says so by its exit status."""
    if exit_record is None or exit_record.get("code") != os.EX_IOERR:
        return None
    hint = "Free some space, then rerun the job; what was saved before is intact."
    return DiskFull("The disk is full: the job could not write how it ended.", hint=hint).as_dict()


def _died(ended: Ended) -> Verdict:
    fruitless = 1 if ended.progressed else ended.fruitless + 1
    limit = MOST_FRUITLESS_SERVE if ended.kind == "serve" else MOST_FRUITLESS
    if fruitless < limit:
        return Verdict(state=JobState.QUEUED, outcome=WorkerDied.code, fruitless=fruitless)
    error = WorkerDied(
        f"The worker died {fruitless} times without getting further; last: {_manner(ended.exit)}.",
        hint=_advice(ended.exit),
    )
    return Verdict(state=JobState.FAILED, outcome=WorkerDied.code, error=error.as_dict(), fruitless=fruitless)


def _manner(exit_record: Mapping[str, Any] | None) -> str:
    """How the last attempt died, in words."""
    if exit_record is None:
        return "it was killed together with its shim"
    number = exit_record.get("signal")
    if isinstance(number, int):
        names = {int(known): known.name for known in signal.Signals}
        return f"killed by {names.get(number, f'signal {number}')}"
    return f"ended with status {exit_record.get('code')} and no result"


def _advice(exit_record: Mapping[str, Any] | None) -> str:
    if exit_record is not None and exit_record.get("signal") == signal.SIGKILL:
        return "The system kills what takes too much memory: look for 'oom' in `dmesg`, and try a smaller batch."
    return "The end of the job's log says more: `luthier logs`."
