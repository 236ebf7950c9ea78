"""The builder: tokeniser, training with checkpoints, model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from appliance.durable import write_text

from .card import survey, write_card
from .export import save_folder
from .train import Run, Schedule
from .vocabulary import train_tokenizer

EVERY = 250


def build(out: Path, work: Path, chosen: argparse.Namespace) -> None:
    """Train the starter (going on from ``work`` if it holds a checkpoint) and write it to ``out``."""
    torch.set_num_threads(chosen.threads)
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = kept_tokenizer(work, chosen.seed)
    run = Run(tokenizer, chosen.seed, Schedule(chosen.steps, chosen.decay))
    checkpoint = work / "run.safetensors"
    if checkpoint.exists():
        run.load(checkpoint)
    run.train(EVERY, lambda each: each.save(checkpoint))
    save_folder(run.model, tokenizer, out)
    stored = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)
    card = write_card(stored, tokenizer, survey(tokenizer, chosen.seed, run.place[0] + 1), run.step)
    write_text(out / "README.md", card)


def kept_tokenizer(work: Path, seed: int) -> Tokenizer:
    """The tokeniser of ``work``, trained first if it is not there."""
    path = work / "tokenizer.json"
    if not path.exists():
        train_tokenizer(seed).save(str(path))
    return Tokenizer.from_file(str(path))
