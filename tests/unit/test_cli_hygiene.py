"""The command line stays light: by what it imports, not by the clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from appliance.cli.commands import COMMANDS, GROUPS

REPOSITORY = Path(__file__).parents[2]
FORBIDDEN = ("torch", "transformers", "datasets", "pyarrow", "numpy", "sqlalchemy", "fastapi", "textual", "pandas")
# Runs the help of everything in one interpreter and notes after which command a heavy module was there.
PROBE = """
import contextlib, io, json, sys
from appliance.cli import main
from appliance.cli.commands import COMMANDS
found = {}
def look(words):
    with contextlib.redirect_stdout(io.StringIO()):
        status = main([*words, "--help"])
    heavy = sorted(set(sys.argv[1:]) & set(sys.modules))
    if status or heavy:
        found[" ".join(words)] = [status, *heavy]
look([])
for name in COMMANDS:
    look([name])
    for verb in COMMANDS.load(name).verbs:
        look([name, verb])
import appliance.client
print(json.dumps([found, sorted(set(sys.argv[1:]) & set(sys.modules))]))
"""


def test_the_help_of_every_command_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *FORBIDDEN], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{}, []]


def test_a_command_that_asks_the_daemon_imports_nothing_heavy() -> None:
    code = "import sys; from appliance.cli import main; main(['status', '--no-start']); main(['version', '--quiet'])"
    code += f"; sys.exit(','.join(set({FORBIDDEN!r}) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_stands_in_one_group_of_the_overview() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
