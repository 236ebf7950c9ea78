"""``python -m appliance.data.check FILE``: look at a stranger's file in a process of its own.

On stdout ``luthier.dataset/1``; or on stderr ``luthier.error/1`` with the error's exit status.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.data.cage import limits_for, run_caged
from appliance.data.ingest import check
from appliance.data.source import file_size
from appliance.errors import LuthierError, UsageError
from appliance.spec import DataSpec, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Check one file; returns the exit status."""
    options = _parser().parse_args(argv)
    limits = limits_for(file_size(options.file) + file_size(options.replay))
    try:
        # Made and removed by this process, because the child may not live to do it.
        with tempfile.TemporaryDirectory(prefix="luthier-check-") as scratch:
            name = os.path.basename(options.file)
            found = run_caged(lambda tell: _check(options, Path(scratch)), limits, what=name)
    except LuthierError as error:
        sys.stderr.write(json.dumps(error.as_dict(), ensure_ascii=False) + "\n")
        return error.exit_status
    sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    return 0


def _check(options: argparse.Namespace, scratch: Path) -> object:
    return check(options.file, _spec(options), options.base, options.sequence_length, scratch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m appliance.data.check", description="Look at a dataset file.")
    parser.add_argument("file", help="the dataset file")
    parser.add_argument("--base", help="folder of the base model whose tokenizer measures the rows")
    parser.add_argument("--format", default="auto", help="how the file is laid out")
    parser.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="which column is what")
    parser.add_argument("--over-length", default="drop", help="what becomes of rows that are too long")
    parser.add_argument("--sequence-length", type=int, help="longest example, in tokens")
    parser.add_argument("--validation", type=float, default=DataSpec.validation, help="share held out while training")
    parser.add_argument("--test", type=float, default=DataSpec.test, help="share held out to prove the result")
    parser.add_argument("--replay", help="a file of what the base model can do already")
    parser.add_argument("--seed", type=int, default=DataSpec.seed, help="seed of the split")
    return parser


def _spec(options: argparse.Namespace) -> DataSpec:
    pairs = [assignment.partition("=") for assignment in options.map]
    wrong = next((assignment for assignment, (_, sign, _) in zip(options.map, pairs, strict=True) if not sign), None)
    if wrong is not None:
        raise UsageError(f"--map is given '{wrong}', expected FIELD=COLUMN.", hint="For example: --map prompt=question")
    values = {
        "format": options.format,
        "mapping": {field: column for field, _, column in pairs},
        "over_length": options.over_length,
        "validation": options.validation,
        "test": options.test,
        "replay": options.replay,
        "seed": options.seed,
    }
    return parse({"data": values}, origin="data check").data


if __name__ == "__main__":
    raise SystemExit(main())
