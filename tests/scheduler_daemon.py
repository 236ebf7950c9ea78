"""The real daemon as a process, with the tests' worker in place of the trainers and servers."""

from __future__ import annotations

import sys
from pathlib import Path

from scheduler.daemon import main

WORKER = Path(__file__).with_name("scheduler_worker.py")

if __name__ == "__main__":
    raise SystemExit(main(worker_command=[sys.executable, str(WORKER)]))
