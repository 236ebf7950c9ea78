"""The command line: ``appliance.cli:main``. stdout is data, stderr is narration, exit codes are a contract."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    from appliance.cli.dispatch import run

    return run(argv)
