"""``luthier status``: one look at everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.cli.command import Call, Command
from appliance.cli.gpu import device_line
from appliance.cli.words import age_text, progress_text, state_text
from appliance.client import Client
from appliance.text import duration_text

_SHOWN = 5


def run(call: Call) -> int:
    with call.client() as client:
        status = client.status()
        if call.screen.as_json:
            call.screen.value(status)
            return 0
        call.screen.pairs(_pairs(status))
        _show_tunes(call, client)
    return 0


def _pairs(status: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    offline = "offline: nothing but this machine is contacted" if status.get("offline") else "the network is allowed"
    up = duration_text(status.get("uptime_seconds"))
    jobs = [f"{count} {state}" for state, count in (status.get("jobs") or {}).items() if count]
    pairs: list[tuple[str, str | None]] = [
        ("daemon", f"{status.get('version')}, process {status.get('pid')}, up {up}"),
        ("home", str(status.get("home"))),
        ("network", offline),
        ("jobs", ", ".join(jobs) or "none yet; start with `luthier quickstart`"),
        ("endpoint", endpoint_line(status.get("endpoint"))),
    ]
    devices = [device_line(device) for device in status.get("devices") or ()]
    return pairs + [("devices" if index == 0 else "", line) for index, line in enumerate(devices)]


def endpoint_line(endpoint: Mapping[str, Any] | None) -> str:
    """Where models are served, and which."""
    if not endpoint:
        return "nothing is served"
    models = ", ".join(_model_name(model) for model in endpoint.get("models") or ()) or "no model yet"
    return f"{endpoint.get('base_url') or endpoint.get('state')}  {models}"


def _model_name(model: Any) -> str:
    return str(model.get("id") or model.get("name")) if isinstance(model, Mapping) else str(model)


def _show_tunes(call: Call, client: Client) -> None:
    tunes = sorted(client.pipelines(), key=lambda tune: str(tune.get("created_at") or ""), reverse=True)
    if not tunes:
        return
    call.screen.show("")
    rows = [
        (tune.get("pipeline"), tune.get("name"), state_text(tune.get("state")), now_text(tune), age_text(created(tune)))
        for tune in tunes[:_SHOWN]
    ]
    call.screen.table(("TUNE", "NAME", "STATE", "NOW", "QUEUED"), rows)
    if len(tunes) > _SHOWN:
        call.screen.say(f"{_SHOWN} of {len(tunes)} tunes; `luthier job ls` lists every job.")


def now_text(tune: Mapping[str, Any]) -> str:
    """What a tune does at the moment."""
    for job in tune.get("jobs") or ():
        if job.get("state") in ("running", "starting"):
            return f"{job.get('kind')} {progress_text(job)}".strip()
    return ""


def created(tune: Mapping[str, Any]) -> object:
    """When a tune was queued."""
    jobs = tune.get("jobs") or ()
    return tune.get("created_at") or (jobs[0].get("created_at") if jobs else None)


COMMAND = Command(
    about="One look at everything: the daemon, what runs, what is served, the devices.",
    run=run,
    examples=("luthier status", "luthier status --json --no-start"),
    exits=(0, 2, 3),
)
