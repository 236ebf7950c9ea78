"""One question over the endpoint, as any client would ask it; to loopback only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from appliance.errors import JobFailed, NetworkNotAllowed

SECONDS = 30.0
MAX_TOKENS = 128
RESPONSE_BYTES = 1_000_000


class Unanswered(JobFailed):
    """An endpoint that gave no answer."""

    code = "unanswered"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead away from this machine, so none is followed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def api_root(base_url: str) -> str:
    """The address clients are given, ending in ``/v1``."""
    trimmed = base_url.rstrip("/")
    return trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine and nowhere else."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def ask(base_url: str, model: str, question: str, *, seconds: float = SECONDS) -> str:
    """The model's answer, trying again while the server is getting ready.

    Raises ``NetworkNotAllowed`` for an address that is not loopback and ``Unanswered`` after ``seconds``.
    """
    url = f"{api_root(base_url)}/chat/completions"
    if not is_loopback(url):
        raise NetworkNotAllowed(f"The report asks only this machine, and {base_url} is not a loopback address.")
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    }
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _content(_post(url, body, timeout=max(1.0, deadline - time.monotonic())))
        except _NotReady as error:
            if time.monotonic() + 1.0 > deadline:
                raise Unanswered(f"{url} gave no answer within {seconds:.0f} s: {error}") from error
            time.sleep(0.5)


class _NotReady(Exception):
    """The server is not there yet, or says that it is busy."""


def _post(url: str, body: dict[str, Any], *, timeout: float) -> Any:
    # Without proxies: a proxy set in the environment would see the question, and may be elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback, checked
    try:
        with opener.open(request, timeout=timeout) as response:
            return json.loads(response.read(RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        if error.code in (404, 429, 503):
            raise _NotReady(f"status {error.code}") from error
        words = error.read(300).decode("utf-8", "replace")
        raise Unanswered(f"{url} answered with status {error.code}: {words}") from error
    except ValueError as error:
        raise Unanswered(f"{url} did not answer in JSON: {error}") from error
    except (OSError, HTTPException) as error:
        raise _NotReady(str(error) or type(error).__name__) from error


def _content(reply: Any) -> str:
    try:
        content = reply["choices"][0]["message"]["content"]
    except (LookupError, TypeError) as error:
        raise Unanswered(f"The endpoint's reply has no message: {json.dumps(reply)[:300]}") from error
    return str(content or "").strip()
