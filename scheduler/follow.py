"""Following what workers say: the new lines of each running job's ``events.jsonl``, and what they add up to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.events import EventType, parse_line

logger = logging.getLogger(__name__)
# The most of one file that is read at once; the rest comes with the next look.
_CHUNK = 1 << 20
_FREQUENT = {EventType.STEP, EventType.PROGRESS}

Heard = Callable[[str, Mapping[str, Any]], None]


@dataclass
class Tail:
    """One job's events file, read as far as ``offset``."""

    path: Path
    attempt: int
    offset: int = 0
    phase: str | None = None
    progress: dict[str, Any] | None = None
    unreadable: bool = False
    """Whether the last look failed; said once, and tried again with each look."""

    def read(self) -> list[dict[str, Any]] | None:
        """The next whole events, of the present attempt only, so often none; None when there is nothing new to read."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read(_CHUNK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if not self.unreadable:
                logger.error("Events cannot be read.", extra={"path": str(self.path), "error": str(error)})
            self.unreadable = True
            return None
        self.unreadable = False
        whole = data[: data.rfind(b"\n") + 1]
        # A line longer than all that is read at once is no event of ours: it is passed over piece by piece.
        moved = len(whole) if whole or len(data) < _CHUNK else len(data)
        if moved == 0:
            return None
        self.offset += moved
        events = (parse_line(line) for line in whole.splitlines(keepends=True))
        return [event for event in events if event is not None and event.get("attempt") == self.attempt]

    def take_in(self, event: Mapping[str, Any]) -> None:
        """Update what the job is doing now."""
        kind = event["type"]
        if kind == EventType.PHASE:
            self.phase = str(event.get("name"))
        elif kind == EventType.STEP:
            self.progress = {"unit": "step"} | _picked(
                event, "step", "steps", "eta_seconds", "loss", "tokens_per_second"
            )
        elif kind == EventType.PROGRESS:
            self.progress = {"step": event.get("done"), "steps": event.get("total"), "unit": event.get("unit")}
            self.progress["eta_seconds"] = event.get("eta_seconds")


@dataclass
class Follower:
    """The events of every running job, passed on at most once a look for those that come often."""

    heard: Heard
    _tails: dict[str, Tail] = field(default_factory=dict)

    def follow(self, job: str, path: Path, attempt: int) -> None:
        """Begin with a running job, from the beginning of the present attempt's events."""
        self._tails[job] = Tail(path, attempt)

    def leave(self, job: str) -> Tail | None:
        """Hear the last of a job and let it go."""
        tail = self._tails.get(job)
        if tail is not None:
            while self._look(job, tail):
                pass
            del self._tails[job]
        return tail

    def look(self) -> None:
        """Read what is new and pass it on."""
        for job, tail in list(self._tails.items()):
            self._look(job, tail)

    def of(self, job: str) -> Tail | None:
        """What a running job is doing."""
        return self._tails.get(job)

    def _look(self, job: str, tail: Tail) -> bool:
        """Hear the next events; False when there was nothing new to read."""
        events = tail.read()
        if events is None:
            return False
        for event in events:
            tail.take_in(event)
        newest = {event["type"]: event["seq"] for event in events}
        for event in events:
            if event["type"] not in _FREQUENT or event["seq"] == newest[event["type"]]:
                self.heard(job, event)
        return True


def _picked(event: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: event.get(name) for name in names}
