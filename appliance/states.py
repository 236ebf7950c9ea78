"""The states of a job and the only ways from one to another.

    blocked ─► queued ─► starting ─► running ─► succeeded | failed | cancelled
                 ▲ ▲        │           │ ├───► paused ─► queued
                 │ └────────┘           ▼ │
                 └──────────────── interrupted

A wish (cancel, pause) is a flag on the job and a phase (saving) an event; neither is a state.
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is."""

    BLOCKED = "blocked"
    """Waits for other jobs."""
    QUEUED = "queued"
    """Ready to start."""
    STARTING = "starting"
    """Claimed; its shim is being launched."""
    RUNNING = "running"
    """Its shim holds the lease."""
    PAUSED = "paused"
    """Stopped at a checkpoint until someone resumes it."""
    INTERRUPTED = "interrupted"
    """Its attempt ended without a result; it will be queued again or failed."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.BLOCKED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.PAUSED, JobState.CANCELLED}),
    JobState.STARTING: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.INTERRUPTED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.PAUSED, JobState.INTERRUPTED}
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.INTERRUPTED: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING})


def sources_of(target: JobState) -> frozenset[JobState]:
    """The states from which a job may move to ``target``."""
    return frozenset(state for state, following in TRANSITIONS.items() if target in following)
