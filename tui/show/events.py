"""One event of a worker in one line."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content

from appliance.events import EventType
from tui.show.words import clock, count, one_line, parse_time, rate, sci
from tui.world import Thing, number

_QUIET = "$quiet"
Said = tuple[str, str, str]


def event_line(event: Thing) -> Content:
    """Time, what happened, and the numbers that belong to it."""
    moment = clock(parse_time(event.get("at")), seconds=True)
    glyph, colour, words = _words(event)
    return Content.assemble((f"{moment} ", _QUIET), (f"{glyph} ", colour), (words, colour if glyph in "▲✖" else ""))


def _words(event: Thing) -> Said:
    """Glyph, colour and sentence; an event of a later release is shown as it is."""
    say = _SAYINGS.get(str(event.get("type")))
    if say is not None:
        return say(event)
    rest = {key: value for key, value in event.items() if key not in ("v", "seq", "at", "attempt", "type")}
    return "·", _QUIET, one_line(f"{event.get('type')} {rest or ''}", 200)


def _evaluated(event: Thing) -> Said:
    # `best` is the best loss so far, or whether this one is it.
    best = "  the best so far" if event.get("best") in (True, event.get("loss")) else ""
    return "◆", "$warning", f"validation loss {_real(event.get('loss'))} at step {_whole(event, 'step')}{best}"


def _saved(event: Thing) -> Said:
    return "✔", "$success", f"checkpoint of step {_whole(event, 'step')} saved"


def _progressed(event: Thing) -> Said:
    words = f"{_whole(event, 'done')} of {_whole(event, 'total')} {event.get('unit') or ''}"
    return "·", _QUIET, one_line(words)


def _started(event: Thing) -> Said:
    again = event.get("resumed_from")
    words = f"attempt {event.get('attempt')} started" + (f" from the checkpoint of step {again}" if again else "")
    return "▶", "$primary", one_line(words)


def _adjusted(event: Thing) -> Said:
    change = f"{event.get('field')}: {event.get('old')} → {event.get('new')}, because {event.get('reason')}"
    return "▲", "$warning", one_line(change)


def _loaded(event: Thing) -> Said:
    if event.get("ok"):
        return "●", "$success", one_line(f"{event.get('model')} is loaded")
    return "✖", "$error", one_line(f"{event.get('model')} could not be loaded: {event.get('message')}")


def _ended(event: Thing) -> Said:
    if event.get("ok"):
        return "✔", "$success", "ended well"
    return "✖", "$error", one_line(f"ended: {event.get('code')}")


def _step(event: Thing) -> str:
    parts = [
        f"step {count(number(event.get('step')))}",
        f"loss {_real(event.get('loss'))}",
        f"lr {sci(number(event.get('learning_rate')))}",
    ]
    if number(event.get("gradient_norm")) is not None:
        parts.append(f"gnorm {_real(event.get('gradient_norm'), 2)}")
    if number(event.get("tokens_per_second")) is not None:
        parts.append(f"{rate(number(event.get('tokens_per_second')))} tok/s")
    return "  ".join(parts)


def _real(value: object, places: int = 4) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.{places}f}"


def _whole(event: Thing, key: str) -> str:
    return count(number(event.get(key)))


_SAYINGS: dict[str, Callable[[Thing], Said]] = {
    EventType.STEP: lambda event: ("·", _QUIET, _step(event)),
    EventType.EVALUATED: _evaluated,
    EventType.SAVED: _saved,
    EventType.PHASE: lambda event: ("▸", "$primary", one_line(event.get("name"))),
    EventType.PROGRESS: _progressed,
    EventType.STARTED: _started,
    EventType.WARNED: lambda event: ("▲", "$warning", one_line(event.get("message"))),
    EventType.ADJUSTED: _adjusted,
    EventType.READY: lambda event: ("●", "$success", one_line(f"answers on {event.get('url')}")),
    EventType.LOADED: _loaded,
    EventType.UNLOADED: lambda event: ("○", _QUIET, one_line(f"{event.get('model')} is unloaded")),
    EventType.ENDED: _ended,
}
