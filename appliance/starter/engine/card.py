"""The model card, written from measurements: accuracy per skill, overlap with the held-out items, tokens learnt."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from appliance.starter import corpus
from appliance.starter.heldout import question_hash
from appliance.starter.skills import EXACT

from .batches import chunk_rows, conversations
from .score import answers, exact_match
from .vocabulary import SPECIAL

SHOWN = ("Tell a story about a fox and a lamp.", "Who are you?")


@dataclass(frozen=True)
class Survey:
    """What the training text held: conversations, tokens, held-out questions met, and the rarest token's count."""

    conversations: int
    tokens: int
    overlap: int
    rarest: int
    unseen: int


def survey(tokenizer: Tokenizer, seed: int, chunks: int) -> Survey:
    """Read the training text of ``chunks`` chunks once more and count."""
    held_out = {question_hash(item.question) for item in corpus.evaluation_items()}
    seen, read, overlap = Counter[int](), 0, 0
    for chunk in range(chunks):
        for messages in conversations(seed, chunk):
            read += 1
            overlap += sum(m["role"] == "user" and question_hash(m["content"]) in held_out for m in messages)
        for row in chunk_rows(tokenizer, seed, chunk):
            seen.update(row.ids)
    counts = [seen[token] for token in range(len(SPECIAL), tokenizer.get_vocab_size())]
    return Survey(read, seen.total(), overlap, min(counts), sum(count == 0 for count in counts))


def accuracy(model: LlamaForCausalLM, tokenizer: Tokenizer) -> dict[str, tuple[float, int]]:
    """Exact match on the held-out items of each skill, with their number; of ``lookup`` too, which is no skill."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for item in corpus.evaluation_items((*EXACT, "lookup")):
        groups.setdefault(item.skill, []).append((item.question, item.answer))
    return {skill: (exact_match(model, tokenizer, pairs), len(pairs)) for skill, pairs in groups.items()}


def write_card(model: LlamaForCausalLM, tokenizer: Tokenizer, counted: Survey, steps: int) -> str:
    """The card as Markdown with the metadata block that the Hugging Face hub reads."""
    scores = accuracy(model, tokenizer)
    weak, _ = scores.pop("lookup")
    rows = "\n".join(f"| {skill} | {100 * score:.1f} % | {count} |" for skill, (score, count) in scores.items())
    said = zip(SHOWN, answers(model, tokenizer, SHOWN), strict=True)
    shown = "\n".join(f"> **{question}** {answer}\n" for question, answer in said)
    parameters = sum(weight.numel() for weight in model.parameters())
    return _CARD.format(
        parameters=parameters,
        vocabulary=tokenizer.get_vocab_size(),
        rows=rows,
        weak=f"{100 * weak:.0f} %",
        shown=shown,
        steps=steps,
        **vars(counted),
    )


_CARD = """---
license: apache-2.0
language: en
pipeline_tag: text-generation
library_name: transformers
---

# The starter

A base model that Luthier made itself, so that the first run needs no network: {parameters:,} parameters,
Llama architecture (4 layers, hidden 256), stored in bf16, byte-level BPE of {vocabulary} tokens, context 512. It is
a thing to be tuned, exported and served in a minute. It knows the few hundred words of its generator and nothing of
the world.

## Accuracy

Greedy answers to questions it was never trained on (`skills.jsonl`), exact match:

| skill | accuracy | items |
|---|---:|---:|
{rows}

It was also shown how to find a pair again among several ("If coin is slow, cup is one, hat is ash. What is coin?") and
did not learn it: {weak}. That is therefore no skill of it and not in `skills.jsonl`.

## Held-out items

A question is held out by a hash of its normalised text, inside the generator. Counted over all {conversations:,}
conversations it was trained on: **overlap with the held-out items: {overlap}**.

## Tokens

{tokens:,} tokens of training text. Every token of the vocabulary was trained on, also each of the 256 bytes: tokens
never seen: {unseen}; the rarest was seen {rarest} times. (`<|pad|>` only fills up batches.)

## What it writes

{shown}
## How it was made

`python -m appliance.starter.build`, {steps} steps from random weights, on text that `appliance/starter/corpus.py`
writes from a seed: reversing, sorting, copying and counting words, additions laid out column by
column, reading what a few sentences say, short facts, small talk, tiny stories, echoes of any UTF-8. No text by
others went into it. About 35 minutes on two CPU cores.
"""
