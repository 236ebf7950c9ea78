"""Starting processes of ours: how a child finds this code, and how the daemon is set off on its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from appliance import durable
from appliance.paths import Paths
from appliance.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def child_environment(settings: Settings | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child process: it imports this code and never what lies in the person's own folder.

    Settings that came from flags are handed on as variables, the next lower level.
    """
    env = dict(os.environ if environ is None else environ)
    search = [str(ROOT), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(search))
    env["PYTHONSAFEPATH"] = "1"
    for key, origin in (settings.origins if settings else {}).items():
        if origin == "flag" and settings:
            section, _, name = key.partition(".")
            value = settings.as_dict()[section][name]
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            env[f"LUTHIER_{section}__{name}".upper()] = text
    return env


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours."""
    return [sys.executable, "-m", module, *arguments]


def become(module: str, *arguments: str, settings: Settings | None = None) -> NoReturn:
    """Replace this process by a module of ours."""
    command = python(module, *arguments)
    os.execve(command[0], command, child_environment(settings))  # noqa: S606  a list of arguments, no shell


def spawn_daemon(paths: Paths, settings: Settings | None = None) -> subprocess.Popen[bytes]:
    """Start a daemon that outlives this process; what it says goes to ``paths.daemon_log``."""
    durable.make_folder(paths.state)
    with paths.daemon_log.open("ab") as log:
        return subprocess.Popen(
            python("scheduler.daemon"),
            cwd=paths.state,
            env=child_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def last_line(log: Path, *, window: int = 8192) -> str | None:
    """The last line of a log that says something."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - window))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), None)
