"""Cells of tables: states with their colour, ages, progress."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from appliance.cli.render import styled
from appliance.text import duration_text

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "starting": "cyan",
    "live": "green",
    "ready": "green",
    "failed": "bold red",
    "cancelled": "dim",
    "paused": "yellow",
    "interrupted": "yellow",
    "candidate": "yellow",
}


def state_text(state: object) -> Text:
    """A state in its colour; readable without it."""
    return styled((str(state or "–"), _STYLES.get(str(state), "")))


def age_text(moment: object) -> str:
    """How long ago something was.

    >>> age_text(None)
    '–'
    """
    if not moment:
        return "–"
    then = datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    return f"{duration_text(max(0.0, (datetime.now(UTC) - then).total_seconds()))} ago"


def progress_text(job: Mapping[str, Any]) -> str:
    """How far a job is.

    >>> progress_text({"progress": {"step": 3, "steps": 10, "eta_seconds": 61}})
    '3/10, 1m 01s left'
    """
    progress = job.get("progress") or {}
    if job.get("state") in ("succeeded", "failed", "cancelled") or job.get("kind") == "serve":
        return ""
    if progress.get("steps"):
        left = progress.get("eta_seconds")
        return f"{progress.get('step') or 0}/{progress['steps']}" + (f", {duration_text(left)} left" if left else "")
    return str(job.get("phase") or "")


def listed(schema: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A list as one JSON object."""
    return {"schema": f"luthier.{schema}/1", "items": items}
