"""The daemon's control API as methods, over its UNIX socket; the command line and the dashboard both use it.

Light: httpx2 is imported when a client is made, and nothing here knows the database or a model.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from appliance.errors import DaemonUnreachable
from appliance.launch import last_line, spawn_daemon
from appliance.paths import Paths
from appliance.settings import Settings
from appliance.text import safe_text
from appliance.wire import Connection

# How long (seconds) a daemon may take to answer after it was started.
_START_TIMEOUT = 20.0


class Queue(Connection):
    """The part of the API that is about work."""

    def status(self) -> dict[str, Any]:
        """``luthier.status/1``: the daemon, its jobs by state, its endpoint and devices."""
        return self._object("GET", "/status")

    def shutdown(self, stop_jobs: bool = False) -> dict[str, Any]:
        """Ask the daemon to end; running jobs go on without it unless ``stop_jobs``."""
        return self._object("POST", "/shutdown", json={"stop_jobs": stop_jobs})

    def start_tune(self, spec: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        """Queue a whole tune. The same ``key`` again gives the same pipeline: a lost answer can be asked for again."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._object("POST", "/pipelines", json={"spec": dict(spec)}, headers=headers)

    def pipelines(self) -> list[dict[str, Any]]:
        return self._items("/pipelines")

    def pipeline(self, name: str) -> dict[str, Any]:
        """``luthier.tune/1`` by id, unique prefix or name."""
        return self._object("GET", f"/pipelines/{_part(name)}")

    def submit(
        self,
        kind: str,
        spec: Mapping[str, Any],
        *,
        name: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        depends_on: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Queue one job alone; returns its ``luthier.job/1``."""
        body = {"kind": kind, "spec": dict(spec), "inputs": dict(inputs or {}), "depends_on": list(depends_on)}
        return self._object("POST", "/jobs", json=body | ({"name": name} if name else {}))

    def jobs(self, *, limit: int | None = None, **filters: str | None) -> list[dict[str, Any]]:
        """Jobs by ``state``, ``kind`` or ``pipeline``; all of them when there is no ``limit``."""
        found: list[dict[str, Any]] = []
        params = {key: value for key, value in filters.items() if value is not None}
        if limit is not None:
            params["limit"] = str(limit)
        while True:
            page = self._object("GET", "/jobs", params=params)
            found += page.get("items", [])
            if not page.get("next") or (limit is not None and len(found) >= limit):
                return found[:limit]
            params["after"] = str(page["next"])

    def job(self, name: str) -> dict[str, Any]:
        return self._object("GET", f"/jobs/{_part(name)}")

    def act(self, name: str, verb: str) -> dict[str, Any]:
        """``cancel``, ``pause``, ``resume`` or ``rerun`` a job, or a whole tune by its ``p-`` id."""
        room = "pipelines" if name.startswith("p-") else "jobs"
        return self._object("POST", f"/{room}/{_part(name)}/{verb}")

    def events(self, name: str, after: int = 0) -> list[dict[str, Any]]:
        """A job's own events with a number above ``after``."""
        return self._items(f"/jobs/{_part(name)}/events", after=after)

    def metrics(self, name: str, points: int = 200) -> dict[str, Any]:
        """A job's curves, thinned to about ``points`` by minimum and maximum."""
        return self._object("GET", f"/jobs/{_part(name)}/metrics", params={"points": points})

    def log(self, name: str, tail: int = 200, attempt: int | None = None) -> dict[str, Any]:
        """``{"lines": [...], "attempt": n}``: the end of an attempt's log, the newest attempt's by default."""
        params = {"tail": tail} | ({"attempt": attempt} if attempt else {})
        return self._object("GET", f"/jobs/{_part(name)}/log", params=params)


class Client(Queue):
    """The whole API of one installation's daemon: the work, and the things that work makes."""

    def datasets(self) -> list[dict[str, Any]]:
        return self._items("/datasets")

    def dataset(self, name: str) -> dict[str, Any]:
        return self._object("GET", f"/datasets/{_part(name)}")

    def rows(self, name: str, *, state: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Lines of a dataset's ledger."""
        return self._items(f"/datasets/{_part(name)}/rows", state=state, limit=limit)

    def remove_dataset(self, name: str) -> None:
        self._request("DELETE", f"/datasets/{_part(name)}")

    def models(self) -> list[dict[str, Any]]:
        return self._items("/models")

    def model(self, name: str) -> dict[str, Any]:
        return self._object("GET", f"/models/{_part(name)}")

    def add_model(self, path: str, name: str) -> dict[str, Any]:
        """Register a local model folder under a name."""
        return self._object("POST", "/models", json={"path": path, "name": name})

    def remove_model(self, name: str) -> None:
        self._request("DELETE", f"/models/{_part(name)}")

    def deployments(self) -> list[dict[str, Any]]:
        return self._items("/deployments")

    def deploy(self, model: str, *, alias: str | None = None, format: str | None = None) -> dict[str, Any]:
        """Serve a model on the endpoint."""
        body = {"model": model, "alias": alias, "format": format}
        return self._object("POST", "/deployments", json={key: value for key, value in body.items() if value})

    def undeploy(self, name: str) -> None:
        """Stop serving, by deployment, model or alias."""
        self._request("DELETE", f"/deployments/{_part(name)}")

    def endpoint(self) -> dict[str, Any]:
        """The inference endpoint. Raises ``NotFound`` when nothing is served."""
        return self._object("GET", "/endpoint")

    def devices(self) -> list[dict[str, Any]]:
        return self._items("/devices")


def _part(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="") or "%20"


def ensure_daemon(paths: Paths, settings: Settings | None = None, *, timeout: float = _START_TIMEOUT) -> dict[str, Any]:
    """Its status, of the daemon that answers or of one started now. Raises ``DaemonUnreachable`` with the reason.

    When two clients race, the daemon's lock decides, and the process that lost it ends with status 0.
    """
    with Client(paths) as client:
        status = _answer(client)
        if status is not None:
            return status
        deadline = time.monotonic() + timeout
        process = spawn_daemon(paths, settings)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            status = _answer(client)
            if status is not None:
                return status
            if process.poll() == 0:
                # The lock was held by a daemon that is starting, or by one that is just leaving.
                time.sleep(0.5)
                process = spawn_daemon(paths, settings)
            elif process.returncode is not None:
                break
    raise _not_started(paths, process, timeout)


def _answer(client: Client) -> dict[str, Any] | None:
    try:
        return client.status()
    except DaemonUnreachable:
        return None


def _not_started(paths: Paths, process: subprocess.Popen[bytes], timeout: float) -> DaemonUnreachable:
    happened = f"does not answer after {timeout:.0f} s"
    if process.returncode is not None:
        happened = f"ended at once with status {process.returncode}"
    line = last_line(paths.daemon_log)
    said = f": {safe_text(line, limit=300)}" if line else "."
    hint = f"`luthier daemon logs` shows more; the log is {paths.daemon_log}."
    return DaemonUnreachable(f"The daemon {happened}{said}", hint=hint, where=str(paths.daemon_log))
