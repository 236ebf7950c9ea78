"""A job's curves and logs, from its folder. Pure reading; run in a thread, because files can be long."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.events import EventType, read_events

_LONGEST_TAIL = 4 << 20
_SERIES = ("loss", "learning_rate", "tokens_per_second")


def curves(events: Path, points: int) -> dict[str, Any]:
    """Series by step. A step done again after a restart counts once, with its newest values."""
    steps: dict[int, tuple[Any, ...]] = {}
    validation: dict[int, Any] = {}
    for event in read_events(events):
        step = event.get("step")
        if event["type"] == EventType.STEP and isinstance(step, int):
            steps[step] = tuple(event.get(name) for name in _SERIES)
        elif event["type"] == EventType.EVALUATED and isinstance(step, int):
            validation[step] = event.get("loss")
    order = sorted(steps)
    kept = [order[index] for index in thin([steps[step][_SERIES.index("loss")] for step in order], points)]
    series = {name: [steps[step][place] for step in kept] for place, name in enumerate(_SERIES)}
    measured = sorted((step, loss) for step, loss in validation.items())
    return {"step": kept, **series, "validation": [list(pair) for pair in measured]}


def thin(values: Sequence[float | None], points: int) -> list[int]:
    """Indices of about ``points`` values that keep each stretch's lowest and highest, so no spike is lost.

    >>> thin([1, 9, 1, 1, 1, 1], 4)
    [0, 1, 5]
    """
    if len(values) <= max(points, 2):
        return list(range(len(values)))
    buckets = max(1, points // 2)
    chosen = {0, len(values) - 1}
    for bucket in range(buckets):
        stretch = range(bucket * len(values) // buckets, (bucket + 1) * len(values) // buckets)
        known = [index for index in stretch if values[index] is not None]
        if known:
            chosen.add(min(known, key=lambda index: values[index] or 0.0))
            chosen.add(max(known, key=lambda index: values[index] or 0.0))
    return sorted(chosen)


def log_tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, as text whatever bytes it holds."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _LONGEST_TAIL))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines > 0 else []


def events_after(events: Path, after: int, limit: int) -> list[dict[str, Any]]:
    """A job's own events, oldest first."""
    found = []
    for event in read_events(events, after=after):
        found.append(event)
        if len(found) == limit:
            break
    return found
