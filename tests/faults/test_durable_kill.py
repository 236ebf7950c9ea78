"""SIGKILL at random moments: what was acknowledged is there, whole, and nothing half-written is ever read."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance import durable

WRITER = """
import sys
from pathlib import Path
from appliance import durable
root, start = Path(sys.argv[1]), int(sys.argv[2])
for number in range(start, start + 1000):
    durable.write_json(root / "state.json", {"n": number, "pad": "x" * 5000})
    with durable.folder(root / f"step-{number:06d}") as staged:
        (staged / "weights").write_bytes(str(number).encode() * 2000)
    sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
"""


def test_thirty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng, acknowledged = random.Random(7), -1
    for _ in range(30):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged + 1)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(rng.random() * 0.05)
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        acknowledged = int(([first.strip(), *rest])[-1])
        durable.sweep(tmp_path)
        assert json.loads((tmp_path / "state.json").read_bytes())["n"] >= acknowledged
        for number in range(acknowledged + 1):
            durable.verify_folder(tmp_path / f"step-{number:06d}")
        for late in tmp_path.glob("step-*"):
            if int(late.name[5:]) > acknowledged:
                durable.verify_folder(late)
                durable.remove(late)
        assert not list(tmp_path.glob(f"{durable.PARTIAL}*"))
