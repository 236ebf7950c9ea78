"""``python -m profiles``: the child that plans for the command line, without a daemon.

``plan`` reads a spec as JSON on stdin and prints ``luthier.plan/1``; ``devices`` prints this machine's devices. A
failure is ``luthier.error/1`` on stderr with its exit status.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance import spec as specs
from appliance.errors import DataRejected, LuthierError, UsageError, error_from_dict
from profiles.devices import read_devices, read_machine
from profiles.devices.described import describe_machine
from profiles.fitting import Question
from profiles.model import find_model
from profiles.planner import make_plan


def main(argv: Sequence[str] | None = None) -> int:
    """Run one request; the exit status is the error's."""
    options = _parser().parse_args(argv)
    try:
        value = _plan(options) if options.request == "plan" else _devices()
    except LuthierError as error:
        sys.stderr.write(json.dumps(error.as_dict(), ensure_ascii=False) + "\n")
        return error.exit_status
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m profiles", description=__doc__)
    requests = parser.add_subparsers(dest="request", required=True)
    requests.add_parser("devices", help="the devices of this machine")
    plan = requests.add_parser("plan", help="what this machine would do about a spec")
    plan.add_argument("--spec-file", default="-", help="a spec as JSON; - reads stdin")
    plan.add_argument("--data", help="the dataset file; without it the spec's data.path")
    plan.add_argument("--base", required=True, help="folder of the base model, or catalogue:NAME")
    plan.add_argument("--hardware", help="fake:1x24GB,host=64GB, the name of a GPU, or a file")
    return parser


def _devices() -> dict[str, Any]:
    return {"schema": "luthier.devices/1", "items": [device.as_dict() for device in read_devices()]}


def _plan(options: argparse.Namespace) -> dict[str, Any]:
    text = sys.stdin.read() if options.spec_file == "-" else Path(options.spec_file).read_text(encoding="utf-8")
    try:
        spec = specs.parse(json.loads(text))
    except ValueError as error:
        raise UsageError(f"The spec is not JSON: {error}.") from error
    data = options.data or spec.data.path
    if not data:
        raise UsageError("A plan needs a dataset file.", hint="luthier plan FILE --base DIR")
    machine = describe_machine(options.hardware) if options.hardware else read_machine(folder=".")
    model = find_model(options.base)
    # A shape of the catalogue has no tokenizer: the rows are checked, and their lengths stay unknown.
    dataset = _check_data(data, None if model.from_catalogue else options.base, spec)
    return make_plan(Question(spec=spec, dataset=dataset, model=model, machine=machine))


def _check_data(path: str, base: str | None, spec: specs.TuneSpec) -> dict[str, Any]:
    """Let a child look at the untrusted file. Raises what the child said."""
    command = [sys.executable, "-m", "appliance.data.check", path, "--format", spec.data.format]
    command += ["--base", base] if base else []
    command += ["--over-length", spec.data.over_length]
    for field, column in spec.data.mapping.items():
        command += ["--map", f"{field}={column}"]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode == 0:
        found: dict[str, Any] = json.loads(child.stdout)
        return found
    last = child.stderr.strip().splitlines()[-1:] or [""]
    try:
        described = json.loads(last[0])
    except ValueError:
        raise DataRejected(f"The reader of {path} ended with status {child.returncode}: {last[0]}") from None
    raise error_from_dict(described)


if __name__ == "__main__":
    raise SystemExit(main())
