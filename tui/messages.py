"""What the feed tells the screens. A screen is told only after it asked to listen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textual.message import Message

from tui.world import World


class WorldChanged(Message):
    """The daemon's world is another. Later worlds replace earlier ones that nobody has looked at yet."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, WorldChanged)


class JobEvent(Message):
    """A worker wrote an event. None is left out, and each job's come in order."""

    def __init__(self, job: str, event: Mapping[str, Any]) -> None:
        super().__init__()
        self.job = job
        self.event = event


@dataclass(frozen=True)
class JobHistory:
    """What a job's screen shows that is not in the world."""

    metrics: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    log: Sequence[str]


class HistoryRead(Message):
    """The past of one job, as asked for."""

    def __init__(self, job: str, history: JobHistory) -> None:
        super().__init__()
        self.job = job
        self.history = history


class Done(Message):
    """The daemon did what was asked."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence


class Refused(Message):
    """The daemon did not do what was asked, or could not be asked."""

    def __init__(self, what: str, message: str, hint: str | None) -> None:
        super().__init__()
        self.what = what
        self.message = message
        self.hint = hint
