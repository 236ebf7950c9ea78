"""A task's items as token ids, and what a model says to them as text and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from appliance.data.chat import (
    ChatTemplate,
    Encoded,
    TemplateRefused,
    Tokenizer,
    encode_example,
    encode_prompt,
    end_ids,
)
from appliance.evaluation.exercise import Exercise, Passage

from .generate import Advance, Decoding, answers
from .likelihood import losses, supervised

Said = dict[str, list[str] | list[float]]
"""By task: the answers, or the summed losses."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The items of one task as token ids. Only one of the two kinds has any."""

    task: str
    exercises: Sequence[Exercise] = ()
    prompts: Sequence[Sequence[int]] = ()
    passages: Sequence[Passage] = ()
    encoded: Sequence[Encoded] = ()

    def __len__(self) -> int:
        return len(self.exercises) + len(self.passages)


class Reader:
    """Turns items into token ids and back, and counts those no model could be asked."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, positions: int | None) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.positions = positions
        self.skipped: dict[str, int] = {}

    def batch(self, task: tuple[str, Sequence[Exercise], Sequence[Passage]]) -> Batch:
        """The items of a task that fit the model and its template."""
        name, exercises, passages = task
        prompts = [self._prompt(exercise) for exercise in exercises]
        encoded = [self._encoded(passage) for passage in passages]
        whole = Batch(
            task=name,
            exercises=[item for item, ids in zip(exercises, prompts, strict=True) if ids],
            prompts=[ids for ids in prompts if ids],
            passages=[item for item, tokens in zip(passages, encoded, strict=True) if tokens],
            encoded=[tokens for tokens in encoded if tokens],
        )
        left_out = len(exercises) + len(passages) - len(whole)
        if left_out:
            self.skipped[name] = left_out
        return whole

    def asker(self, batches: Sequence[Batch], longest: int, progress: Advance) -> Callable[[PreTrainedModel], Said]:
        """What is asked of each model: every batch."""
        stop, pad = end_ids(self.tokenizer, self.template), self.tokenizer.pad_id
        decoding = Decoding(stop=stop, pad=pad, max_new_tokens=longest, positions=self.positions)

        def ask(network: PreTrainedModel) -> Said:
            said: Said = {}
            for batch in batches:
                if batch.passages:
                    said[batch.task] = losses(network, batch.encoded, progress)
                else:
                    found = answers(network, batch.prompts, decoding, progress)
                    said[batch.task] = [self.tokenizer.decode(ids).strip() for ids in found]
            return said

        return ask

    def _prompt(self, exercise: Exercise) -> list[int] | None:
        try:
            ids = encode_prompt(exercise.prompt, self.tokenizer, self.template, exercise.tools)
        except TemplateRefused:
            return None
        return ids if self.positions is None or len(ids) < self.positions else None

    def _encoded(self, passage: Passage) -> Encoded | None:
        try:
            encoded = encode_example(passage.example, self.tokenizer, self.template)
        except TemplateRefused:
            return None
        fits = self.positions is None or len(encoded.ids) <= self.positions
        return encoded if fits and supervised(encoded) else None
