"""What a worker tells the world: one JSON object a line in ``events.jsonl``, appended by rank 0 only.

Every event has ``v`` (schema version), ``seq`` (1, 2, 3… over all attempts), ``at`` (ISO-8601 UTC), ``attempt``
and ``type``. A line cut short by a power failure is skipped by readers and ended by the next writer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.text import now_iso

VERSION = 1


class EventType(StrEnum):
    """The kinds of events and the fields each carries."""

    STARTED = "started"
    """kind, pid; resumed_from (step) when it continues a checkpoint."""
    PHASE = "phase"
    """name: what goes on now, in a few words (loading, tokenising, saving, merging…)."""
    PROGRESS = "progress"
    """done, total, unit: for work that has no training steps."""
    STEP = "step"
    """step, steps, loss, learning_rate, gradient_norm, tokens, tokens_per_second, eta_seconds."""
    EVALUATED = "evaluated"
    """step, loss, best: validation while training."""
    SAVED = "saved"
    """step, path: a checkpoint was committed."""
    WARNED = "warned"
    """code, message."""
    ADJUSTED = "adjusted"
    """field, old, new, reason."""
    READY = "ready"
    """url: an inference server accepts requests."""
    LOADED = "loaded"
    """model, ok, message: an inference server loaded a model, or could not."""
    UNLOADED = "unloaded"
    """model."""
    ENDED = "ended"
    """ok, code."""


_SYNCED = {EventType.STARTED, EventType.SAVED, EventType.ENDED}


class EventWriter:
    """The one writer of a job's ``events.jsonl``."""

    def __init__(self, path: Path, *, attempt: int) -> None:
        self._attempt = attempt
        self._seq = last_seq(path)
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if torn:
            durable.append_line(self._descriptor, "")

    def emit(self, type_: EventType, /, **data: Any) -> None:
        """Append one event; those a restart relies on are synced. Numbers that JSON has not become null."""
        self._seq += 1
        event = {"v": VERSION, "seq": self._seq, "at": now_iso(), "attempt": self._attempt, "type": str(type_)}
        event |= {key: _json_number(value) for key, value in data.items()}
        durable.append_line(self._descriptor, json.dumps(event, ensure_ascii=False), sync=type_ in _SYNCED)

    def close(self) -> None:
        os.close(self._descriptor)


def read_events(path: Path, *, after: int = 0) -> Iterator[dict[str, Any]]:
    """The whole events with ``seq`` greater than ``after``; torn lines are skipped."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            event = parse_line(line)
            if event is not None and event["seq"] > after:
                yield event


def parse_line(line: bytes) -> dict[str, Any] | None:
    """One event, or None when the line is torn or not an event."""
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or not isinstance(event.get("seq"), int) or "type" not in event:
        return None
    return event


def last_seq(path: Path) -> int:
    """The number of the newest event, 0 when there is none."""
    return max((event["seq"] for event in read_events(path)), default=0)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
