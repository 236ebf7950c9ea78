"""The builder of the starter can be interrupted: what it saves continues to the same bits."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer

from appliance.starter.engine.train import Run, Schedule


def learn(run: Run, generator: torch.Generator) -> None:
    """One step on made-up gradients, through the optimisers as they are."""
    for parameter in run.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    for optimiser in run.optimisers:
        optimiser.step()
        optimiser.zero_grad()
    run.step += 1


def test_a_continued_build_makes_the_same_weights_as_an_undisturbed_one(tmp_path: Path, starter: Path) -> None:
    tokenizer, schedule = Tokenizer.from_file(str(starter / "tokenizer.json")), Schedule(steps=20, decay=5)
    undisturbed, generator = Run(tokenizer, 3, schedule), torch.Generator().manual_seed(1)
    learn(undisturbed, generator)
    learn(undisturbed, generator)
    undisturbed.place = (1, 7)
    undisturbed.save(tmp_path / "run.safetensors")
    continued = Run(tokenizer, 4, schedule)
    continued.load(tmp_path / "run.safetensors")
    assert (continued.step, continued.place) == (2, (1, 7))
    same = generator.get_state()
    learn(undisturbed, generator)
    generator.set_state(same)
    learn(continued, generator)
    for one, other in zip(undisturbed.model.parameters(), continued.model.parameters(), strict=True):
        assert torch.equal(one, other)
