"""The committed data files of the starter, written from the generator so that they can never say something else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from appliance.durable import make_folder, write_text

from . import corpus, guild

HERE = Path(__file__).resolve().parent
SKILLS, REPLAY, SAMPLE = "skills.jsonl", "replay.jsonl", "sample/harps.jsonl"


def contents() -> dict[str, str]:
    """Every data file's path below ``appliance/starter`` with its text."""
    return {
        SKILLS: _lines(corpus.evaluation_line(item) for item in corpus.evaluation_items()),
        REPLAY: _lines(corpus.replay_line(item) for item in corpus.replay_items()),
        SAMPLE: _lines(guild.line(row) for row in guild.rows()),
    }


def write(folder: Path = HERE) -> None:
    """Write the data files below ``folder``."""
    for name, text in contents().items():
        make_folder((folder / name).parent)
        write_text(folder / name, text)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
