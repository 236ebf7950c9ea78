"""One answer of the OpenAI endpoint, streamed: read in a thread, told as messages, stopped at any moment.

The endpoint is on this machine, so the standard library's HTTP is enough.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from urllib.parse import urlsplit

from textual.message import Message

from tui.feed import Listener

# The first token may need the whole model to be loaded and a long prompt to be read; seconds.
_PATIENCE = 120.0
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Question:
    """What is asked of whom."""

    base_url: str
    model: str
    messages: Sequence[Mapping[str, str]]


class AnswerGrew(Message):
    """More of an answer."""

    def __init__(self, answer: Answer, text: str) -> None:
        super().__init__()
        self.answer = answer
        self.text = text


class AnswerEnded(Message):
    """An answer is whole, was stopped, or failed (``fault`` says why)."""

    def __init__(self, answer: Answer, *, fault: str, pieces: int, first: float | None, seconds: float) -> None:
        super().__init__()
        self.answer = answer
        self.fault = fault
        self.pieces = pieces
        self.first_seconds = first
        self.seconds = seconds


class Answer:
    """An answer under way."""

    def __init__(self, question: Question, asker: Listener) -> None:
        self._question = question
        self._asker = asker
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Ask, in a thread of its own."""
        threading.Thread(target=self._run, name="answer", daemon=True).start()

    def stop(self) -> None:
        """Want no more of it. The connection is closed, by which the server knows."""
        self._stopped.set()
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It was closed already, which is what was wanted.
                return

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def _run(self) -> None:
        began = monotonic()
        pieces, first, fault = 0, None, ""
        try:
            for text in self._pieces():
                first = monotonic() - began if first is None else first
                pieces += 1
                self._asker.post_message(AnswerGrew(self, text))
        except (OSError, HTTPException, ValueError) as error:
            fault = "" if self.stopped else str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001  the edge of a thread: the reader must learn that it ended
            fault = f"{type(error).__name__}: {error}"
        self._asker.post_message(
            AnswerEnded(self, fault=fault, pieces=pieces, first=first, seconds=monotonic() - began)
        )

    def _pieces(self) -> Iterator[str]:
        url = urlsplit(self._question.base_url)
        if url.scheme != "http" or not url.hostname:
            raise ValueError(f"{self._question.base_url} is not an address of the form http://HOST:PORT/v1")
        connection = HTTPConnection(url.hostname, url.port or 80, timeout=_PATIENCE)
        try:
            connection.connect()
            self._socket = connection.sock
            body = {"model": self._question.model, "messages": list(self._question.messages), "stream": True}
            headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
            path = f"{url.path.rstrip('/')}/chat/completions"
            connection.request("POST", path, json.dumps(body).encode(), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise ValueError(_refusal(response))
            yield from self._events(response)
        finally:
            connection.close()

    def _events(self, response: HTTPResponse) -> Iterator[str]:
        """The texts of the stream; ends at ``[DONE]``, at its end, or when it was stopped."""
        while not self.stopped:
            line = response.readline(_LONGEST_LINE)
            if not line:
                return
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            if text := _text_of(json.loads(data)):
                yield text


def _text_of(chunk: object) -> str:
    """The new text of a chunk. Raises ``ValueError`` for an error that came inside the stream."""
    if not isinstance(chunk, dict):
        return ""
    if isinstance(error := chunk.get("error"), dict):
        raise ValueError(str(error.get("message") or "the server reported an error"))
    choices = chunk.get("choices") or [{}]
    delta = choices[0].get("delta") or {} if isinstance(choices[0], dict) else {}
    return str(delta.get("content") or "")


def _refusal(response: HTTPResponse) -> str:
    """Why the server refused, in its own words where it has any."""
    raw = response.read(65536)
    try:
        body = json.loads(raw)
        return str(body["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {response.status} {response.reason}"
