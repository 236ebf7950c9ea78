"""A dataset folder's examples as token ids. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from appliance.data.chat import ChatTemplate, Tokenizer
from appliance.data.example import Example, read_examples
from appliance.errors import DataRejected, InvalidBaseModel
from appliance.events import EventType
from appliance.training.seams import Item, Objective
from appliance.work import Work

_REPORT_EVERY = 5000


@dataclass(frozen=True)
class Items:
    """Encoded examples with what batching needs to know of each."""

    items: list[Item] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    """Tokens of each."""
    counts: list[int] = field(default_factory=list)
    """Terms of the loss of each."""

    def __len__(self) -> int:
        return len(self.items)

    def __add__(self, other: Items) -> Items:
        return Items(self.items + other.items, self.lengths + other.lengths, self.counts + other.counts)


@dataclass(frozen=True)
class Examples:
    """Everything of a dataset that training uses."""

    train: Items
    replay: Items
    validation: Items
    pad_id: int

    def check_ids(self, vocabulary: int, base: Path) -> None:
        """Raise ``InvalidBaseModel`` when there are tokens that the model has no embeddings for."""
        everything = self.train.items + self.replay.items + self.validation.items
        largest = max(self.pad_id, *(max(item.ids) for item in everything))
        if largest >= vocabulary:
            raise InvalidBaseModel(
                f"The tokenizer in {base} makes token {largest}, but the model has embeddings for {vocabulary} only.",
                hint="The tokenizer and the weights come from different models: take both from one source.",
                where=str(base),
            )


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What turns an example into tokens: the base model's tokenizer and template, and the objective."""

    tokenizer: Tokenizer
    template: ChatTemplate
    objective: Objective
    longest: int
    """Most tokens of an example; a longer one is left out, never cut."""

    def item(self, example: Example) -> Item:
        return self.objective.encode(example, self.tokenizer, self.template)


def load_examples(work: Work, dataset: Path, encoder: Encoder) -> Examples:
    """Encode a dataset folder.

    What is too long or has nothing to learn is left out, counted and warned of. Raises ``DataRejected`` when
    nothing is left to train on.
    """
    train = _load(work, dataset / "train.jsonl", encoder)
    if not len(train):
        raise DataRejected(
            f"{dataset} has no example of at most {encoder.longest} tokens with something to learn.",
            hint="Raise training.sequence_length, or look at `luthier data rows` for what became of the rows.",
            where=str(dataset),
        )
    replay, validation = (
        _load(work, path, encoder) if path.is_file() else Items()
        for path in (dataset / "replay.jsonl", dataset / "validation.jsonl")
    )
    return Examples(train, replay, validation, encoder.tokenizer.pad_id)


def _load(work: Work, path: Path, encoder: Encoder) -> Items:
    found = Items()
    too_long = empty = 0
    for number, example in enumerate(read_examples(path), 1):
        if number % _REPORT_EVERY == 0:
            work.emit(EventType.PROGRESS, done=number, total=None, unit="examples")
            work.stop.check()
        item = encoder.item(example)
        terms = encoder.objective.count(item)
        if len(item.ids) > encoder.longest:
            too_long += 1
        elif not terms:
            empty += 1
        else:
            found.items.append(item)
            found.lengths.append(len(item.ids))
            found.counts.append(terms)
    if too_long or empty:
        message = (
            f"{path.name}: {too_long} examples longer than {encoder.longest} tokens and {empty} with nothing to learn "
            f"are left out; {len(found)} remain."
        )
        work.emit(EventType.WARNED, code="examples-left-out", message=message)
    return found
