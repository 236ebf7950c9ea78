"""Token ids as text while they come: never half a character, and nothing that may turn out to be a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.data.chat import Tokenizer

_UNFINISHED = "\ufffd"
# A character has at most 4 bytes; what is still unreadable after more tokens than that will not become readable.
_HELD_MOST = 8
_BEFORE = 6


class Detokeniser:
    """Turns ids into text a piece at a time; the pieces together are the text of all ids.

    Each piece is the difference between two decodings that begin with the tokens of the piece before, because a
    decoder may treat the first token of a text in its own way (a leading space is taken away).
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = _readable(tokenizer, list(before[-_BEFORE:]))
        """The window that is decoded again for each piece."""
        self._shown = len(self._ids)
        """How many of them are told already."""

    def push(self, id_: int) -> str:
        """The text that is certain now."""
        self._ids.append(id_)
        told = self._tokenizer.decode(self._ids[: self._shown])
        whole = self._tokenizer.decode(self._ids)
        if whole.endswith(_UNFINISHED) and len(self._ids) - self._shown < _HELD_MOST:
            return ""
        return self._advance(whole[len(told) :])

    def end(self) -> str:
        """What was held back and will not become whole."""
        told = self._tokenizer.decode(self._ids[: self._shown])
        return self._advance(self._tokenizer.decode(self._ids)[len(told) :])

    def _advance(self, piece: str) -> str:
        if piece:
            self._ids = self._ids[self._shown :]
            self._shown = len(self._ids)
        return piece


class AnswerText:
    """The text of one answer, ended before the first stop string in it."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = (), before: Sequence[int] = ()) -> None:
        self._pieces = Detokeniser(tokenizer, before)
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        """Whether a stop string came."""

    def push(self, id_: int) -> str:
        """The text that may be shown now."""
        return self._cut(self._pieces.push(id_))

    def end(self) -> str:
        """The rest, when no more tokens come."""
        if self.stopped:
            return ""
        text = self._cut(self._pieces.end())
        rest, self._held = self._held, ""
        return text if self.stopped else text + rest

    def _cut(self, piece: str) -> str:
        text = self._held + piece
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _readable(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """The ids without those at the beginning that are the end of a cut character."""
    while ids and tokenizer.decode(ids).startswith(_UNFINISHED):
        del ids[0]
    return ids


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that ``stop`` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
