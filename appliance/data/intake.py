"""A file's way to a dataset, in passes over the disk so that memory stays flat.

1. Read, convert, check, leave exact duplicates out; examples go to a spool file, and their words are counted.
2. Leave near-duplicates out, measure, apply the over-length policy; what is left goes to a second spool.
3. Decide what is held out, and write the splits and the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from appliance.data.dedup import ExactDuplicates, NearDuplicates, Rarity
from appliance.data.encoding import Encoding, find_encoding
from appliance.data.example import Example, example_line, read_at, read_examples, read_placed
from appliance.data.infer import SAMPLES, Layout, infer
from appliance.data.ledger import Ledger, State
from appliance.data.lengths import Ruler, TooLong, Unlearnable, too_long
from appliance.data.nested import flat
from appliance.data.normalise import Checked, NothingToLearn, normalise
from appliance.data.quality import Quality
from appliance.data.readers import READERS, choose_reader
from appliance.data.rows import Reader, Row, RowFault
from appliance.data.source import Source
from appliance.data.split import assign
from appliance.data.statistics import Losses, Tokens
from appliance.spec import DataSpec

SPLITS = ("train", "validation", "test")
Tick = Callable[[str, int], None]
"""Called now and then with what goes on and how many rows are done; may raise to stop."""


@dataclass
class Intake:
    """Everything that is known about a file while it is taken in."""

    source: Source
    encoding: Encoding
    reader: str
    layout: Layout
    ledger: Ledger = field(default_factory=Ledger)
    notes: dict[str, list[int]] = field(default_factory=dict)
    tokens: Tokens = field(default_factory=Tokens)
    losses: Losses = field(default_factory=Losses)
    quality: Quality = field(default_factory=Quality)
    groups: dict[str, int] = field(default_factory=dict)
    """Group → examples in it, of what is left in the end."""
    splits: dict[str, int] = field(default_factory=dict)
    """Examples in each split."""
    measured: bool = False


def look_at(source: Source, spec: DataSpec) -> tuple[Intake, Iterator[Row]]:
    """Decide how a file is to be read. Raises ``DataRejected``, ``UnreadableData``, ``UsageError``."""
    encoding = find_encoding(source)
    name = choose_reader(source, encoding)
    read: Reader = READERS.load(name)
    rows = flat(read(source, encoding))
    first = list(islice(rows, SAMPLES))
    layout = infer(first, asked=spec.format, given=spec.mapping, name=source.name)
    return Intake(source, encoding, name, layout), chain(first, rows)


def take_in(intake: Intake, rows: Iterator[Row], ruler: Ruler | None, folder: Path, tick: Tick) -> Path:
    """Sort the rows; returns the spool of the examples that are left, in ``folder``."""
    first, second = folder / "spool-1.jsonl", folder / "spool-2.jsonl"
    rarity = Rarity()
    with first.open("w", encoding="utf-8") as spool:
        for example in _readable(intake, rows, tick):
            rarity.add(example)
            spool.write(example_line(example) + "\n")
    with first.open("rb") as again, second.open("w", encoding="utf-8") as spool:
        near = NearDuplicates(rarity, lambda place: read_at(again, place))
        _measure_all(intake, _different(intake, read_placed(first), near), ruler, spool, tick)
    first.unlink()
    return second


def write_splits(intake: Intake, spool: Path, spec: DataSpec, folder: Path, tick: Tick) -> dict[str, str]:
    """Write ``train.jsonl`` and its sisters and ``ledger.jsonl``; returns the split of each held-out group."""
    held = assign(intake.groups, validation=spec.validation, test=spec.test, seed=spec.seed)
    files = {name: (folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in SPLITS}
    counts = dict.fromkeys(SPLITS, 0)
    try:
        for done, example in enumerate(read_examples(spool)):
            split = held.get(example.group, "train")
            counts[split] += 1
            files[split].write(example_line(example) + "\n")
            _settle_split(intake.ledger, example, split)
            if done % 1000 == 0:
                tick("writing the splits", done)
    finally:
        for stream in files.values():
            stream.close()
    spool.unlink()
    intake.splits = counts
    return held


def write_ledger(ledger: Ledger, path: Path) -> None:
    """Write one line for each input row."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{entry}\n" for entry in ledger.entries())


def _readable(intake: Intake, rows: Iterator[Row], tick: Tick) -> Iterator[Example]:
    """The examples of the rows that are some, each content once."""
    seen = ExactDuplicates()
    for row in rows:
        number = intake.ledger.enter(row.line)
        if number % 1000 == 0:
            tick("reading", number)
        checked = _check(intake, row)
        if checked is None:
            continue
        earlier = seen.first(checked.example)
        if earlier is not None:
            intake.ledger.settle(number, State.DUPLICATE, of=earlier)
            continue
        for code in checked.notes:
            intake.notes.setdefault(code, []).append(number)
        if checked.fixed:
            intake.ledger.note(number, fixed=list(checked.fixed))
        yield checked.example


def _check(intake: Intake, row: Row) -> Checked | None:
    if row.fault is not None:
        intake.ledger.refuse(row.number, State.INVALID, row.fault)
        return None
    try:
        return normalise(row.number, intake.layout.convert(row))
    except NothingToLearn as error:
        intake.ledger.refuse(row.number, State.NOTHING_TO_LEARN, error.fault)
    except RowFault as error:
        intake.ledger.refuse(row.number, State.INVALID, error.fault)
    return None


def _different(intake: Intake, examples: Iterator[tuple[int, Example]], near: NearDuplicates) -> Iterator[Example]:
    """The examples that do not say what an earlier one says."""
    for place, example in examples:
        earlier = near.first(example, place)
        if earlier is None:
            yield example
        else:
            intake.ledger.settle(example.row, State.NEAR_DUPLICATE, of=earlier)


def _measure_all(intake: Intake, examples: Iterator[Example], ruler: Ruler | None, spool: TextIO, tick: Tick) -> None:
    intake.measured = ruler is not None
    odd = {row for rows in intake.notes.values() for row in rows}
    for done, example in enumerate(examples, 1):
        if done % 200 == 0:
            tick("measuring" if ruler else "comparing", done)
        intake.quality.add(example, odd=example.row in odd)
        for piece in _measure(intake, example, ruler):
            intake.groups[piece.group] = intake.groups.get(piece.group, 0) + 1
            spool.write(example_line(piece) + "\n")


def _measure(intake: Intake, example: Example, ruler: Ruler | None) -> Iterator[Example]:
    """The pieces of an example that fit; none when it was given another state."""
    if ruler is None:
        yield example
        return
    ledger, row = intake.ledger, example.row
    try:
        fitted = ruler.fit(example)
    except TooLong as error:
        fault = too_long(error.tokens, ruler.limit or 0)
        ledger.settle(row, State.OVER_LENGTH, code=fault.code, message=fault.message, tokens=error.tokens)
        return
    except Unlearnable as error:
        ledger.refuse(row, State.NOTHING_TO_LEARN, error.fault)
        return
    except RowFault as error:
        ledger.refuse(row, State.INVALID, error.fault)
        return
    if fitted.fixed:
        ledger.note(row, fixed=[*ledger.detail(row).get("fixed", []), fitted.fixed])
    intake.losses.add(example, ruler.tokenizer)
    for piece, encoded in fitted.pieces:
        intake.tokens.add(encoded)
        yield piece


def _settle_split(ledger: Ledger, example: Example, split: str) -> None:
    """Pieces of one row share its group, so they share its split: the row is settled once."""
    if ledger.state(example.row) is None:
        if split == "train":
            ledger.settle(example.row, State.KEPT)
        else:
            ledger.settle(example.row, State.HELD_OUT, split=split)


def describe(intake: Intake) -> dict[str, Any]:
    """How the file was read, as ``luthier.dataset/1`` tells it."""
    return {
        "format": intake.layout.format.name,
        "mapping": dict(intake.layout.mapping),
        "confidence": intake.layout.confidence,
        "evidence": list(intake.layout.evidence),
        "reader": intake.reader,
        "encoding": intake.encoding.name,
    }
