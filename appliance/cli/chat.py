"""Asking a served model over the endpoint, as any OpenAI client does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.errors import JobFailed, LuthierError, NotFound, TimedOut, UsageError

if TYPE_CHECKING:
    import httpx2

Message = dict[str, str]
# A busy endpoint may let a request wait this long (seconds) between two tokens.
_READ_SECONDS = 300.0


@dataclass(frozen=True)
class Chat:
    """One model at one endpoint, and how it is asked."""

    base_url: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, messages: list[Message]) -> dict[str, Any]:
        """The whole ``chat.completion``. Raises what the endpoint refused with."""
        with self._connection() as http:
            response = http.post("/chat/completions", json=self._body(messages))
            _check(response)
            body: dict[str, Any] = response.json()
            return body

    def pieces(self, messages: list[Message]) -> Iterator[str]:
        """The answer, piece by piece as it is made."""
        body = self._body(messages) | {"stream": True}
        with self._connection() as http, http.sse("/chat/completions", method="POST", json=body) as source:
            if source.response.is_error:
                source.response.read()
                _check(source.response)
            for event in source:
                if event.data == "[DONE]":
                    return
                yield _piece(json.loads(event.data))

    def _body(self, messages: list[Message]) -> dict[str, Any]:
        return {"model": self.model, "messages": messages, **self.parameters}

    @contextmanager
    def _connection(self) -> Iterator[httpx2.Client]:
        """A connection whose failures are errors of ours."""
        import httpx2

        timeout = httpx2.Timeout(_READ_SECONDS, connect=5.0)
        try:
            with httpx2.Client(base_url=self.base_url, timeout=timeout, trust_env=False) as http:
                yield http
        except httpx2.ReadTimeout as error:
            raise TimedOut(f"{self.model} said nothing for {_READ_SECONDS:.0f} s.", hint="luthier ps") from error
        except httpx2.TransportError as error:
            hint = "It is restarted when it died; `luthier ps` shows whether it is there."
            raise JobFailed(f"The endpoint {self.base_url} does not answer.", hint=hint) from error


def _check(response: httpx2.Response) -> None:
    """Raise what the endpoint refused with."""
    if not response.is_error:
        return
    try:
        described = response.json()["error"]
        message, code = str(described["message"]), str(described.get("code"))
    except (ValueError, KeyError, TypeError):
        message, code = f"The endpoint answered {response.status_code}.", ""
    if response.status_code == 404:
        raise NotFound(message)
    if code == "context_length_exceeded":
        raise UsageError(message, hint="Ask shorter, or begin anew.")
    if 400 <= response.status_code < 500:
        raise UsageError(message)
    raise LuthierError(message)


def _piece(chunk: dict[str, Any]) -> str:
    """The text of one chunk. Raises the error that the endpoint sent instead."""
    if "error" in chunk:
        raise JobFailed(str(chunk["error"].get("message") or "The endpoint could not go on."))
    choices = chunk.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")
