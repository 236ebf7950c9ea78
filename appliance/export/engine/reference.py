"""The reference answers: computed by Transformers from the trained model, before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import torch

from appliance.data.chat import TemplateRefused, encode_example, encode_prompt
from appliance.data.example import Example
from appliance.export.engine.trained import Trained
from appliance.export.prompts import Prompt, choose_prompts, held_out
from appliance.export.reference import Passage, Probe, Reference, digest_tokens
from appliance.export.vocabulary import read_tokens

ANSWER_MOST = 32
TOP = 32
_PASSAGE_MOST = 384


def make_reference(trained: Trained, dataset: Path | None) -> Reference:
    """Ask the model everything an artifact will be asked."""
    examples = held_out(dataset)
    ends = trained.ends
    probes = [_probe(trained, prompt, ends) for prompt in choose_prompts(examples)]
    tokens = read_tokens(trained.tokens_folder)
    return Reference(
        ends=tuple(sorted(ends)),
        begin=next(iter(trained.tokenizer.prefix_ids), None),
        template=trained.template.text,
        token_count=len(tokens),
        tokens=digest_tokens(tokens),
        probes=tuple(probe for probe in probes if probe is not None),
        texts=tuple(passage for example in examples if (passage := _text(trained, example)) is not None),
    )


def _probe(trained: Trained, prompt: Prompt, ends: frozenset[int]) -> Probe | None:
    """A prompt with its answer; None where the model cannot be asked it."""
    ids = _ids(trained, prompt)
    if not ids or len(ids) + ANSWER_MOST + 8 > min(trained.context, _PASSAGE_MOST):
        return None
    answer, ended = trained.continue_greedily(ids, ANSWER_MOST, ends)
    logits = trained.logits(ids + answer)
    likeliest = logits[-1].argmax()
    scored = ids + answer + ((int(likeliest),) if ended else ())
    best = logits[len(ids) - 1 : len(scored) - 1].softmax(-1).topk(2).values
    return Probe(
        name=prompt.name,
        messages=prompt.messages,
        text=prompt.text,
        prompt=ids,
        answer=answer,
        answer_text=trained.tokenizer.decode(answer),
        ended=ended,
        margins=tuple(round(float(first - second), 6) for first, second in best),
        passage=_passage(prompt.name, scored, logits),
    )


def _ids(trained: Trained, prompt: Prompt) -> tuple[int, ...]:
    if prompt.messages:
        try:
            return tuple(encode_prompt(prompt.messages, trained.tokenizer, trained.template))
        except TemplateRefused:
            return ()
    return (*trained.tokenizer.prefix_ids, *trained.tokenizer.encode(prompt.text))


def _text(trained: Trained, example: Example) -> Passage | None:
    try:
        ids = tuple(encode_example(example, trained.tokenizer, trained.template).ids)
    except TemplateRefused:
        return None
    if not 2 <= len(ids) <= min(trained.context, _PASSAGE_MOST):
        return None
    return _passage(f"row {example.row}", ids, trained.logits(ids))


def _passage(name: str, ids: tuple[int, ...], logits: torch.Tensor) -> Passage:
    """What ``logits`` say of each token from the second on."""
    logprobs = logits[: len(ids) - 1].double().log_softmax(-1)
    best = logprobs.topk(min(TOP, logprobs.shape[-1]))
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    actual = logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return Passage(
        name=name,
        ids=ids,
        logprobs=tuple(round(value, 6) for value in actual.tolist()),
        top=tuple(
            tuple((id_, round(value, 6)) for id_, value in zip(names, values, strict=True)) for names, values in rows
        ),
    )
