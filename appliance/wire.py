"""The wire to the daemon: requests and events over its UNIX socket, and the errors they can end with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from appliance.errors import DaemonUnreachable, LuthierError, TimedOut, error_from_dict
from appliance.paths import Paths

if TYPE_CHECKING:
    import httpx2

PREFIX = "/api/v1"
# A request that the daemon does not answer in this time (seconds) means that it hangs.
_TIMEOUT = 30.0
# A quiet event stream is left after this time (seconds), and the caller takes it up again at its cursor.
_STREAM_TIMEOUT = 45.0


class Connection:
    """A connection to the daemon of one installation. Every method raises the error that the daemon named.

    ``transport`` replaces the socket in tests, which run against the real routes in-process. One client may be
    used by several threads; ``close`` from another thread ends a stream.
    """

    def __init__(self, paths: Paths, transport: httpx2.BaseTransport | None = None) -> None:
        import httpx2

        self.paths = paths
        self.cursor = 0
        """Number of the last event that ``stream`` yielded."""
        self._over_socket = transport is None
        self._http = httpx2.Client(
            base_url=f"http://luthier{PREFIX}",
            transport=transport or httpx2.HTTPTransport(uds=str(paths.socket), verify=False, trust_env=False),
            timeout=httpx2.Timeout(_TIMEOUT, connect=5.0),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def stream(self, after: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
        """Everything that happens, as ``(event, data)``, until the daemon ends it or nothing was said for a while.

        ``event`` is job, pipeline, dataset, model, deployment, progress, status, or ``reset``: what was known is
        out of date and must be asked for again. Continue with ``stream(client.cursor)``.
        """
        import httpx2

        timeout = httpx2.Timeout(_TIMEOUT, connect=5.0, read=_STREAM_TIMEOUT)
        try:
            with self._mapped(), self._http.sse("/events", params={"after": after}, timeout=timeout) as source:
                if source.response.is_error:
                    source.response.read()
                    raise _refusal(source.response)
                for event in source:
                    if event.id.isdigit():
                        self.cursor = int(event.id)
                    yield event.event, json.loads(event.data or "{}")
        except TimedOut:
            return

    def _items(self, path: str, **params: str | int | None) -> list[dict[str, Any]]:
        given = {key: value for key, value in params.items() if value is not None}
        items: list[dict[str, Any]] = self._object("GET", path, params=given).get("items", [])
        return items

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._request(method, path, **options)
        value = response.json() if response.content else {}
        return value if isinstance(value, dict) else {"items": value}

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with self._mapped():
            response = self._http.request(method, path, **options)
        if not response.is_success:
            raise _refusal(response)
        return response

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Turn what httpx2 raises into errors of ours; the only place that does."""
        import httpx2

        try:
            if self._over_socket and not self.paths.socket.exists():
                raise httpx2.ConnectError("There is no socket.")
            yield
        except httpx2.ReadTimeout as error:
            raise TimedOut(
                f"The daemon did not answer within {_TIMEOUT:.0f} s.", hint="`luthier daemon logs` shows what it does."
            ) from error
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise DaemonUnreachable(
                f"No daemon answers on {self.paths.socket}.",
                hint="Start it with `luthier daemon start`.",
                where=str(self.paths.socket),
            ) from error


def _refusal(response: httpx2.Response) -> LuthierError:
    """The error that a response other than 2xx describes."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and ("code" in body or "detail" in body):
        return error_from_dict(body)
    return LuthierError(f"The daemon answered {response.status_code} to {response.request.url.path}.")
