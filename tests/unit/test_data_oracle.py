"""A hundred thousand dirty rows whose ends are known before they are read: none may end otherwise."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.data.ingest import _named, _Question, _sort
from appliance.data.intake import write_ledger
from appliance.spec import DataSpec

SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te")


def word(source: random.Random) -> str:
    return "".join(source.choice(SYLLABLES) for _ in range(4))


class Dirt:
    """Writes rows and remembers what each must become."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.clean: list[tuple[int, dict[str, str]]] = []
        self.shouts: dict[int, int] = {}

    def lines(self, count: int) -> Iterator[tuple[str, str, int | None]]:
        """A line, the state it must end in, and the row it repeats."""
        kinds = (self.good, self.repeated, self.shouted, self.unanswered, self.unasked, self.cut, self.odd)
        weights = (80, 5, 3, 3, 3, 3, 3)
        for row in range(1, count + 1):
            make = self.good if row == 1 else self.source.choices(kinds, weights)[0]
            yield make(row)

    def good(self, row: int) -> tuple[str, str, int | None]:
        # The number of the row written in words of its own makes every question another one.
        value = {"prompt": f"{word(self.source)} {word(self.source)} row{row}", "completion": word(self.source)}
        self.clean.append((row, value))
        return json.dumps(value), "used", None

    def repeated(self, row: int) -> tuple[str, str, int | None]:
        first, value = self.source.choice(self.clean)
        # Keys in another order and more space between them are the same row.
        shown = json.dumps(dict(reversed(value.items())), indent=self.source.choice((None, 0))).replace("\n", " ")
        return shown, "duplicate", first

    def shouted(self, row: int) -> tuple[str, str, int | None]:
        first, value = self.source.choice(self.clean)
        shown = {"prompt": f"  {value['prompt'].upper()}!?", "completion": f"{value['completion'].title()}."}
        # Shouted twice, the second time repeats the first.
        earlier = self.shouts.setdefault(first, row)
        return (
            json.dumps(shown),
            "near_duplicate" if earlier == row else "duplicate",
            first if earlier == row else earlier,
        )

    def unanswered(self, row: int) -> tuple[str, str, int | None]:
        answer = self.source.choice(("", "  ", None))
        return json.dumps({"prompt": word(self.source), "completion": answer}), "nothing_to_learn", None

    def unasked(self, row: int) -> tuple[str, str, int | None]:
        asked = self.source.choice(("", None, " \n", True))
        return json.dumps({"prompt": asked, "completion": word(self.source)}), "invalid", None

    def cut(self, row: int) -> tuple[str, str, int | None]:
        line = json.dumps({"prompt": word(self.source), "completion": word(self.source)})
        return line[: self.source.randrange(2, len(line))], "invalid", None

    def odd(self, row: int) -> tuple[str, str, int | None]:
        odd = (
            '{"prompt": NaN, "completion": "a"}',
            "[1, 2]",
            '"text alone',
            "{'prompt': 1}",
            '{"a": 1, "a": 2}',
            "null",
        )
        return self.source.choice(odd), "invalid", None


def account(folder: Path, seed: int, count: int) -> Counter[str]:
    path = folder / "dirty.jsonl"
    expected = []
    with path.open("w") as stream:
        for line, state, first in Dirt(seed).lines(count):
            expected.append((state, first))
            stream.write(line + "\n")
    question = _Question(DataSpec(), None, None)
    intake, _ = _sort(_named(path, folder), question, folder, lambda what, done: None)
    write_ledger(intake.ledger, folder / "ledger.jsonl")
    wrong = []
    ends: Counter[str] = Counter()
    with (folder / "ledger.jsonl").open() as entries:
        for row, ((state, first), line) in enumerate(zip(expected, entries, strict=True), 1):
            entry = json.loads(line)
            ends[entry["state"]] += 1
            right = entry["state"] in (("kept", "held_out") if state == "used" else (state,))
            if not right or entry["row"] != row or entry["line"] != row or entry.get("of") != first:
                wrong.append((entry, state, first))
    assert wrong == []
    return ends


@pytest.mark.parametrize("seed", [1])
def test_a_hundred_thousand_dirty_rows_all_end_as_they_must(tmp_path: Path, seed: int) -> None:
    ends = account(tmp_path, seed, 100_000)
    assert ends.total() == 100_000
    assert (
        min(ends[state] for state in ("duplicate", "near_duplicate", "invalid", "nothing_to_learn", "held_out")) > 1000
    )


@pytest.mark.long
def test_a_million_dirty_rows_all_end_as_they_must(tmp_path: Path) -> None:
    assert account(tmp_path, 2, 1_000_000).total() == 1_000_000
