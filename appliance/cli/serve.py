"""``luthier serve``: load a model on the local endpoint."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from appliance.cli.arguments import seconds
from appliance.cli.command import Call, Command
from appliance.cli.follow import ask
from appliance.client import Client
from appliance.errors import JobFailed, NotFound, TimedOut

_PATIENCE = 120.0
_POLL_SECONDS = 0.2


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's id or name")
    parser.add_argument("--alias", metavar="NAME", help="the name that clients use")
    parser.add_argument("--format", metavar="FORMAT", help="which artifact: gguf:q8_0; the smallest proven by default")
    parser.add_argument("--timeout", type=seconds, default=_PATIENCE, metavar="TIME", help="how long to wait (2m)")


def run(call: Call) -> int:
    options = call.options
    with call.client() as client:
        deployment = client.deploy(options.model, alias=options.alias, format=options.format)
    deployment = wait_until_served(call, deployment, timeout=options.timeout)
    if call.screen.as_json:
        call.screen.value(deployment)
        return 0
    call.screen.show(f"{deployment.get('base_url')}  model {served_name(deployment)}")
    call.screen.say(f"Next: luthier run {served_name(deployment)} · luthier endpoint --format python")
    return 0


def wait_until_served(call: Call, deployment: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """Wait for the inference server to load a model. Raises ``JobFailed`` and ``TimedOut``."""
    identifier = str(deployment["id"])
    deadline = time.monotonic() + timeout
    while deployment.get("state") not in ("ready", "failed"):
        if time.monotonic() > deadline:
            raise TimedOut(
                f"{deployment.get('model')} is not loaded after {timeout:.0f} s; it goes on loading.",
                hint="`luthier ps` shows when it is ready.",
            )
        call.screen.live(f"loading {deployment.get('model')}…")
        time.sleep(_POLL_SECONDS)
        deployment = ask(call, lambda client: _find(client, identifier))
    call.screen.clear()
    if deployment["state"] == "failed":
        reason = deployment.get("message") or "the inference server could not load it"
        raise JobFailed(f"{deployment.get('model')} is not served: {reason}", hint="`luthier why` says more.")
    return deployment


def served_name(deployment: dict[str, Any]) -> str:
    """The name that clients use."""
    return str(deployment.get("alias") or deployment.get("name") or deployment.get("model"))


def _find(client: Client, identifier: str) -> dict[str, Any]:
    for deployment in client.deployments():
        if deployment["id"] == identifier:
            return deployment
    raise NotFound(f"The deployment {identifier} is gone: someone stopped serving it.")


COMMAND = Command(
    about="Serve a model on the local endpoint, which speaks OpenAI's language. Returns when it is loaded.",
    usage="MODEL [options]",
    configure=configure,
    run=run,
    examples=("luthier serve support-faq", "luthier serve m-4k2m9x --alias helpdesk --format gguf:q8_0"),
    exits=(0, 1, 3, 4, 5, 124),
)
