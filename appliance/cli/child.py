"""Work that a client must not do itself, done by a child: planning, and reading files that may be hostile."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from appliance.cli.command import Call
from appliance.errors import LuthierError, error_from_dict
from appliance.launch import child_environment, python


def ask_child(call: Call, module: str, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
    """The JSON object that ``python -m module`` prints. Raises the error it describes on stderr."""
    done = subprocess.run(
        python(module, *arguments),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=child_environment(call.settings),
        check=False,
    )
    if done.returncode == 0:
        try:
            value = json.loads(done.stdout)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    raise _described(module, done)


def _described(module: str, done: subprocess.CompletedProcess[str]) -> LuthierError:
    """What the child said; its last line when it said nothing of ours."""
    for line in reversed(done.stderr.strip().splitlines()):
        try:
            body = json.loads(line)
        except ValueError:
            continue
        if isinstance(body, dict) and "code" in body:
            return error_from_dict(body)
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return LuthierError(f"`python -m {module}` ended with status {done.returncode}: {last}")
