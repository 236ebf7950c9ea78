"""Training the starter from scratch: Muon on the matrices, AdamW on embeddings and norms, bf16 arithmetic."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as serialize
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from appliance import durable

from .batches import Batch, batches
from .vocabulary import BOS, CONTEXT, END, PAD, token_id

LOG = logging.getLogger("luthier.starter")


@dataclass(frozen=True)
class Schedule:
    """A constant learning rate after ``warmup`` steps, falling linearly to zero over the last ``decay`` steps."""

    steps: int
    decay: int
    warmup: int = 100
    matrix_rate: float = 4e-3
    other_rate: float = 3e-3

    def factor(self, step: int) -> float:
        """What the rates are multiplied by at ``step`` (counted from 0)."""
        return min(1.0, (step + 1) / self.warmup, (self.steps - step) / self.decay)


def new_model(tokenizer: Tokenizer, seed: int) -> LlamaForCausalLM:
    """An untrained starter: Llama, hidden 256, four layers, 3.4 M parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=CONTEXT,
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
    )
    config._attn_implementation = "eager"  # on a CPU the fused kernel's backward is three times slower at these lengths
    return LlamaForCausalLM(config)


def batch_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the learnt tokens; the output layer is applied to those positions only."""
    learnt = batch.learnt[:, 1:]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[learnt])
    return torch.nn.functional.cross_entropy(logits.float(), batch.ids[:, 1:][learnt])


class Run:
    """A training run that can be left and taken up again: model, two optimisers, a step and a place in the stream."""

    def __init__(self, tokenizer: Tokenizer, seed: int, schedule: Schedule) -> None:
        self.tokenizer, self.seed, self.schedule = tokenizer, seed, schedule
        self.model = new_model(tokenizer, seed)
        hidden = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        self.rates = (schedule.matrix_rate, schedule.other_rate)
        muon = torch.optim.Muon(hidden, lr=self.rates[0], weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.AdamW(others, lr=self.rates[1], betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.optimisers: tuple[torch.optim.Optimizer, ...] = (muon, adam)
        self.step, self.place = 0, (0, 0)

    def load(self, path: Path) -> None:
        """Take up a run from its checkpoint."""
        with safe_open(path, framework="pt") as stored:
            kept = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - it is not a mapping
            progress = json.loads(stored.metadata()["progress"])
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(kept[f"model/{name}"])
        for number, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in kept.items():
                if name.startswith(f"optimiser/{number}/"):
                    _, _, index, key = name.split("/")
                    state.setdefault(int(index), {})[key] = tensor
            optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
        self.step, self.place = progress["step"], tuple(progress["place"])

    def save(self, path: Path) -> None:
        """Write a checkpoint, replacing the one before."""
        kept = {f"model/{name}": parameter.detach() for name, parameter in self.model.named_parameters()}
        for number, optimiser in enumerate(self.optimisers):
            for index, values in optimiser.state_dict()["state"].items():
                kept |= {f"optimiser/{number}/{index}/{key}": tensor for key, tensor in values.items()}
        progress = json.dumps({"step": self.step, "place": self.place})
        durable.write_bytes(path, serialize(kept, {"progress": progress}))

    def advance(self, batch: Batch) -> float:
        """One optimisation step; returns its loss."""
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * self.schedule.factor(self.step)
        loss = batch_loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        return float(loss.detach())

    def train(self, every: int, saved: Callable[[Run], None]) -> None:
        """Run to the schedule's end, calling ``saved`` every ``every`` steps and at the end."""
        began, losses = time.monotonic(), list[float]()
        for place, batch in batches(self.tokenizer, self.seed, self.place):
            if self.step >= self.schedule.steps:
                break
            losses.append(self.advance(batch))
            self.place = place
            if self.step % 50 == 0:
                elapsed = time.monotonic() - began
                LOG.info("step %d  loss %.4f  %.0f s", self.step, sum(losses) / len(losses), elapsed)
                losses.clear()
            if self.step % every == 0 or self.step == self.schedule.steps:
                saved(self)
