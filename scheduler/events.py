"""The feed: everything that happens, numbered, kept for a while in memory for clients that were away.

Numbers go on rising over restarts, because each boot starts from the clock. A client that comes with a number this
feed cannot continue from is told to begin anew.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 4096
"""Events a client may have missed and still catch up on."""
KEPT_BYTES = 16 << 20
"""And their size together: a whole tune with its evaluation can be a megabyte."""
QUIET = 15.0
"""Seconds after which a comment is sent, so that both ends know the other is there."""


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    number: int
    noun: str
    """job, pipeline, dataset, model, deployment, progress or status."""
    text: str
    """What happened, as JSON in ASCII: written once for all who listen, and as long as it is large."""


@dataclass
class Feed:
    """A ring of events and those who wait for the next one. Belongs to the event loop's thread."""

    _ring: deque[Event] = field(default_factory=deque)
    _held: int = 0
    # Microseconds fit the integers of JSON readers until the year 2255, and one boot makes fewer events than that.
    newest: int = field(default_factory=lambda: time.time_ns() // 1000)
    closed: bool = False
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def publish(self, noun: str, data: Mapping[str, Any]) -> None:
        """Tell everybody."""
        self.newest += 1
        event = Event(self.newest, noun, json.dumps(dict(data)))
        self._ring.append(event)
        self._held += len(event.text)
        # The newest stays however large it is: those who listen are about to take it.
        while len(self._ring) > 1 and (len(self._ring) > KEPT or self._held > KEPT_BYTES):
            self._held -= len(self._ring.popleft().text)
        self._wake()

    def close(self) -> None:
        """End every stream."""
        self.closed = True
        self._wake()

    def since(self, after: int) -> list[Event] | None:
        """The events after a number, None when some of them are no longer known or the number is not ours."""
        oldest = self._ring[0].number if self._ring else self.newest + 1
        if not oldest - 1 <= after <= self.newest:
            return None
        return [event for event in self._ring if event.number > after]

    async def stream(self, after: int) -> AsyncIterator[Event | None]:
        """Events as they happen; a ``reset`` first when ``after`` cannot be continued; None when it was quiet."""
        seen = after
        bell = asyncio.Event()
        self._waiting.add(bell)
        try:
            while not self.closed:
                bell.clear()
                missed = self.since(seen)
                if missed is None:
                    missed = [Event(self.newest, "reset", json.dumps({"newest": self.newest}))]
                for event in missed:
                    seen = event.number
                    yield event
                if not missed and not await _rung(bell):
                    yield None
        finally:
            self._waiting.discard(bell)

    def _wake(self) -> None:
        for bell in self._waiting:
            bell.set()


async def _rung(bell: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(bell.wait(), QUIET)
    except TimeoutError:
        return False
    return True
