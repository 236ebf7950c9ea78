"""``python -m serving``: serve a job folder, or one file for a check."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.jobdir import JobDir


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; nothing heavy is imported before the arguments are understood."""
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve models over the OpenAI protocol.")
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of a serve job")
    parser.add_argument("--attempt", type=int, help="number of the attempt (by hand: the next one)")
    parser.add_argument("--check", type=Path, metavar="GGUF", help="serve this file privately until stdin ends")
    parser.add_argument("--tokenizer", type=Path, help="the model folder whose tokenizer belongs to --check")
    parser.add_argument("--port", type=int, default=0, help="port of --check; 0 takes a free one")
    options = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if options.check:
        if options.tokenizer is None:
            parser.error("--check needs --tokenizer")
        from serving.check import serve_check

        return serve_check(options.check, options.tokenizer, options.port)
    if options.folder is None:
        parser.error("a job folder or --check is needed")
    from serving.server import serve_job

    folder = JobDir(options.folder)
    return serve_job(folder, options.attempt or folder.last_attempt() + 1)


if __name__ == "__main__":
    raise SystemExit(main())
