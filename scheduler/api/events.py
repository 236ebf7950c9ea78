"""What happens, as it happens: server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from scheduler.api.app import Parts
from scheduler.events import Event, Feed

router = APIRouter(prefix="/events")


@router.get("")
async def events(
    house: Parts,
    after: int = 0,
    last_event_id: Annotated[int | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """Changes after a number; ``reset`` first when the daemon cannot continue from it, and then all that follows."""
    stream = _lines(house.feed, last_event_id or after)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _lines(feed: Feed, after: int) -> AsyncIterator[str]:
    async for event in feed.stream(after):
        yield frame(event) if event is not None else ": still here\n\n"


def frame(event: Event) -> str:
    """One event on the wire; JSON has no raw line breaks, so one data line is enough."""
    return f"id: {event.number}\nevent: {event.noun}\ndata: {event.text}\n\n"
