"""``luthier daemon``: the process that owns the queue, the database and the devices."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import NoReturn

from appliance import durable
from appliance.cli.arguments import at_least_one
from appliance.cli.command import Call, Command
from appliance.client import Client, ensure_daemon
from appliance.errors import DaemonUnreachable, NotFound, TimedOut
from appliance.jobdir import is_leased
from appliance.launch import become
from appliance.text import duration_text

_STOP_SECONDS = 30.0
_LOG_WINDOW = 1_000_000


def _start(call: Call) -> int:
    running = call.daemon_status()
    status = running or ensure_daemon(call.paths, call.settings)
    if call.screen.as_json:
        call.screen.value(status)
        return 0
    call.screen.show(f"process {status.get('pid')}  {call.paths.socket}")
    call.screen.say("It runs already." if running else "Started.")
    return 0


def _configure_stop(parser: ArgumentParser) -> None:
    parser.add_argument("--stop-jobs", action="store_true", help="stop running jobs too, at their next checkpoint")


def _stop(call: Call) -> int:
    stopped = stop(call, stop_jobs=call.options.stop_jobs)
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.stopped/1", "stopped": stopped})
        return 0
    if not stopped:
        call.screen.say("No daemon runs.")
    elif call.options.stop_jobs:
        call.screen.say("Stopped, and every job with it at its last checkpoint.")
    else:
        call.screen.say("Stopped. Running jobs and the endpoint go on; the next daemon takes them over.")
    return 0


def stop(call: Call, *, stop_jobs: bool) -> bool:
    """End the daemon and wait until it has let go of its lock; False when none ran. Raises ``TimedOut``."""
    try:
        with Client(call.paths) as client:
            client.shutdown(stop_jobs)
    except DaemonUnreachable:
        if not is_leased(call.paths.daemon_lock):
            return False
    deadline = time.monotonic() + _STOP_SECONDS
    while is_leased(call.paths.daemon_lock):
        call.screen.live("waiting for the daemon to end…")
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The daemon has not ended after {_STOP_SECONDS:.0f} s.",
                hint="`luthier daemon logs` shows what it does.",
            )
        time.sleep(0.1)
    call.screen.clear()
    return True


def _restart(call: Call) -> int:
    stop(call, stop_jobs=False)
    return _start(call)


def _status(call: Call) -> int:
    status = call.daemon_status()
    if status is None:
        raise DaemonUnreachable(f"No daemon runs for {call.paths.state}.", hint="`luthier daemon start` starts one.")
    if call.screen.as_json:
        call.screen.value(status)
        return 0
    call.screen.pairs(
        (
            ("daemon", f"{status.get('version')}, process {status.get('pid')}"),
            ("up", duration_text(status.get("uptime_seconds"))),
            ("home", str(status.get("home"))),
            ("socket", str(status.get("socket") or call.paths.socket)),
            ("log", str(call.paths.daemon_log)),
        )
    )
    return 0


def _configure_logs(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--tail", type=at_least_one, default=50, metavar="N", help="how many lines (50)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")


def _logs(call: Call) -> int:
    log = call.paths.daemon_log
    if not log.exists():
        raise NotFound(f"There is no log at {log}: no daemon was started here.", where=str(log))
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_WINDOW))
        lines = stream.read().decode("utf-8", "replace").splitlines()[-call.options.tail :]
        if call.screen.as_json:
            call.screen.value({"schema": "luthier.log/1", "job": None, "lines": lines})
            return 0
        call.screen.show(*lines)
        while call.options.follow:
            if fresh := stream.read():
                call.screen.show(*fresh.decode("utf-8", "replace").splitlines())
            time.sleep(0.3)
    return 0


def _run(call: Call) -> NoReturn:
    """Become the daemon, in the foreground."""
    durable.make_folder(call.paths.state)
    become("scheduler.daemon", settings=call.settings)


def _recover(call: Call) -> NoReturn:
    """Become the daemon only to rebuild its database from the job folders."""
    durable.make_folder(call.paths.state)
    become("scheduler.daemon", "--recover", settings=call.settings)


def _verb(
    about: str,
    run: Callable[[Call], int],
    *,
    configure: Callable[[ArgumentParser], None] = lambda _: None,
    usage: str = "",
    exits: tuple[int, ...] = (0, 2, 3),
) -> Command:
    return Command(about=about, run=run, configure=configure, usage=usage, exits=exits)


COMMAND = Command(
    about="The daemon owns the queue, the database and the devices. Other commands start it when they need it.",
    usage="VERB [options]",
    verbs={
        "start": _verb("Start it in the background, if none runs.", _start),
        "stop": _verb(
            "End it. Running jobs go on without it.",
            _stop,
            configure=_configure_stop,
            usage="[--stop-jobs]",
            exits=(0, 2, 124),
        ),
        "restart": _verb("End it and start another, which takes over what runs.", _restart, exits=(0, 2, 3, 124)),
        "status": _verb("Whether one runs; starts none.", _status, exits=(0, 3)),
        "logs": _verb("What it wrote.", _logs, configure=_configure_logs, usage="[-n N] [-f]", exits=(0, 4, 130)),
        "run": _verb("Run it here in the foreground, as a service manager does.", _run, exits=(0, 2)),
        "recover": _verb(
            "Rebuild a missing or damaged database from the job folders, with no daemon running.", _recover
        ),
    },
)
