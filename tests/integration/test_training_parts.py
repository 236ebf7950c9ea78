"""The exam of every adapter and every objective: the same behaviours, whatever the part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training_world import World, build_base, make_plan
from transformers import AutoModelForCausalLM

from appliance.data.chat import load_template, load_tokenizer
from appliance.data.example import example_from_dict, read_examples
from appliance.training import ADAPTERS, OBJECTIVES
from appliance.training.engine.model import Network, load_base
from appliance.training.engine.optimizer import trainable
from appliance.training.engine.seed import seed_all
from appliance.training.seams import Item, from_plan

ROOMY = {"learning_rate": 1e-2, "steps": 40, "warmup": 2, "schedule": "constant", "save_every": 40, "rank": 16}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.build(tmp_path_factory.mktemp("parts"), train=64)


def logits_of(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(6, 60).unsqueeze(0)).logits.float()


def load_trained(world: World, model: Path, kind: str) -> Any:
    """With the peer libraries alone."""
    if kind == "full":
        return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    from peft import PeftModel

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(world.base, dtype=torch.float32), model)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_learns_saves_reloads_and_merges(world: World, name: str) -> None:
    done = world.train(f"learns-{name}", make_plan(adapter=name, dropout=0.0, **ROOMY))
    assert sum(done.losses[-5:]) < 0.9 * sum(done.losses[:5])
    kind = done.result["model"]["kind"]
    assert kind == ADAPTERS.load(name).kind
    trained = load_trained(world, done.model, kind)
    answers = logits_of(trained)
    plain = logits_of(load_base(world.base, "fp32"))
    assert (answers - plain).abs().max() > 0.1
    if kind == "adapter":
        merged = logits_of(trained.merge_and_unload())
        assert torch.allclose(merged, answers, atol=1e-5)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_same_seed_gives_the_same_adapter(world: World, name: str) -> None:
    def starting_weights(seed: int) -> list[torch.Tensor]:
        adapter = from_plan(ADAPTERS.load(name), make_plan())
        model = load_base(world.base, "fp32")
        seed_all(seed)
        return [weight.detach().clone() for weight in trainable(adapter.wrap(model)).values()]

    first, again = starting_weights(3), starting_weights(3)
    assert first
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_folder_is_enough_to_render_and_tokenise(world: World, name: str) -> None:
    done = world.train(f"folder-{name}", make_plan(adapter=name, steps=1))
    template, tokenizer = load_template(done.model), load_tokenizer(done.model)
    messages = [{"role": "user", "content": "say again oak ü 🦉"}]
    text = template.render(messages, add_generation_prompt=True)
    assert text == load_template(world.base).render(messages, add_generation_prompt=True)
    assert tokenizer.encode(text) == load_tokenizer(world.base).encode(text)
    names = {path.name for path in done.model.rglob("*")}
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_reach_everything_that_trains_and_nothing_else(world: World, adapter: str, objective: str) -> None:
    learning = from_plan(OBJECTIVES.load(objective), make_plan())
    model = from_plan(ADAPTERS.load(adapter), make_plan(dropout=0.0)).wrap(load_base(world.base, "fp32"))
    network = Network(model)
    tokenizer, template = load_tokenizer(world.base), load_template(world.base)
    items = [learning.encode(e, tokenizer, template) for e in read_examples(world.dataset / "train.jsonl")]
    loss = learning.loss(network, learning.collate(items[:4], 0))
    assert torch.isfinite(loss)
    loss.backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert reached == set(trainable(model))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_sums_over_as_many_terms_as_it_counts(world: World, objective: str) -> None:
    learning = from_plan(OBJECTIVES.load(objective), make_plan())
    network = Network(load_base(world.base, "fp32"))
    tokenizer, template = load_tokenizer(world.base), load_template(world.base)
    items = [learning.encode(e, tokenizer, template) for e in read_examples(world.dataset / "train.jsonl")][:6]
    batch = learning.collate(items, 0)
    assert sum(map(learning.count, items)) == len(batch.targets)
    with torch.no_grad():
        together = learning.loss(network, batch)
        apart = sum(learning.loss(network, learning.collate([item], 0)) for item in items)
    assert torch.allclose(together, apart, rtol=1e-5)


def test_only_the_answer_and_its_end_are_learnt(world: World) -> None:
    tokenizer, template = load_tokenizer(world.base), load_template(world.base)
    row = {"row": 1, "messages": [{"role": "user", "content": "oak"}, {"role": "assistant", "content": "elm fir"}]}
    learning = from_plan(OBJECTIVES.load("sft"), make_plan())
    item = learning.encode(example_from_dict(row), tokenizer, template)
    learnt = [label for label in item.labels if label != -100]
    assert tokenizer.decode(learnt, skip_special=False) == "elm fir</s>"


def test_masked_tokens_get_no_gradient(world: World) -> None:
    """The gradient at the logits is zero exactly where the next token is not learnt."""
    learning = from_plan(OBJECTIVES.load("sft"), make_plan())
    network = Network(load_base(world.base, "fp32"))
    kept: list[torch.Tensor] = []
    network.model.lm_head.register_forward_hook(lambda _m, _i, out: (out.retain_grad(), kept.append(out))[1])
    from array import array

    ids, labels = array("i", range(10, 20)), array("i", [-100] * 10)
    labels[4], labels[7] = ids[4], ids[7]
    batch = learning.collate([Item(ids, labels)], 0)
    learning.loss(network, batch).backward()
    touched = kept[0].grad.flatten(0, 1).abs().sum(-1).nonzero().flatten().tolist()
    assert touched == [3, 6]


def test_the_head_is_applied_to_learnt_positions_only_where_that_is_all_the_model_does(tmp_path: Path) -> None:
    ids = torch.arange(6, 40).unsqueeze(0)
    network = Network(load_base(build_base(tmp_path / "base"), "fp32"))
    network.choose_head(ids)
    assert network.direct

    class Capped(torch.nn.Module):
        """A model that caps its logits, as Gemma 2 does."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner
            self.base_model = inner.base_model

        def get_output_embeddings(self) -> Any:
            return self.inner.get_output_embeddings()

        def forward(self, **inputs: Any) -> Any:
            out = self.inner(**inputs)
            out.logits = torch.tanh(out.logits * 50)
            return out

    capped = Network(Capped(network.model))
    capped.choose_head(ids)
    assert not capped.direct
    assert capped(ids, torch.tensor([3])).abs().max() <= 1
