"""``python -m appliance.starter.build``: make the starter again, from nothing but this folder.

About 35 minutes and 7 GB of memory on two cores (bf16 arithmetic, AVX-512), and resumable: ``--work`` keeps a
checkpoint every 250 steps, and the same command goes on from there. Data order, initial weights and schedule follow
from ``--seed``; on the same processor and number of threads the result is the same.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from . import files

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    """The builder's command line."""
    parser = argparse.ArgumentParser(prog="python -m appliance.starter.build", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "model", help="where the model folder is written")
    parser.add_argument("--work", type=Path, default=Path("starter-build"), help="where checkpoints are kept")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--decay", type=int, default=600, help="steps at the end over which the learning rate falls")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--data-only", action="store_true", help="write skills, replay rows and the sample dataset only"
    )
    return parser.parse_args()


def main() -> None:
    """Write the data files; unless that is all, train, and write the model folder with its card."""
    chosen = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    files.write()
    if chosen.data_only:
        return
    # Two threads that spin on a shared core have been seen to slow a step eighteenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OMP_NUM_THREADS", str(chosen.threads))
    from .engine.builder import build

    build(chosen.out, chosen.work, chosen)


if __name__ == "__main__":
    main()
