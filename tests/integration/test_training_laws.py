"""What must hold of training whatever the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_world import World, build_base, make_plan, weights_of, write_rows
from transformers import AutoModelForCausalLM

from appliance.data.chat import encode_example, load_template, load_tokenizer
from appliance.data.example import read_examples
from appliance.errors import DataRejected, Diverged, InvalidBaseModel, JobFailed
from appliance.training.order import Order
from appliance.training.schedule import rate_factor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.build(tmp_path_factory.mktemp("laws"), train=40, replay=10)


def tensors_of(model: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in model.glob("*.safetensors") for name, value in load_file(file).items()}


def furthest(one: Path, other: Path) -> float:
    first, second = tensors_of(one), tensors_of(other)
    assert first.keys() == second.keys()
    return max((first[name].float() - second[name].float()).abs().max().item() for name in first)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_accumulation_does_not_change_the_result(world: World, adapter: str) -> None:
    plan = {"adapter": adapter, "dropout": 0.0, "learning_rate": 1e-3}
    whole = world.train(f"one-{adapter}", make_plan(micro_batch=8, accumulation=1, **plan))
    parts = world.train(f"two-{adapter}", make_plan(micro_batch=2, accumulation=4, **plan))
    single = world.train(f"three-{adapter}", make_plan(micro_batch=1, accumulation=8, **plan))
    assert furthest(whole.model, parts.model) < 1e-5
    assert furthest(whole.model, single.model) < 1e-5
    assert whole.losses == pytest.approx(parts.losses, abs=1e-5)


def test_the_loop_is_what_a_plain_torch_loop_does(world: World) -> None:
    """An independent reference: padding with an attention mask, the model's own logits, torch's own parts."""
    plan = make_plan(adapter="full", replay_share=0.3, steps=12, clip=0.5)
    ours = world.train("reference", plan)
    tokenizer, template = load_tokenizer(world.base), load_template(world.base)
    encoded = [
        encode_example(example, tokenizer, template)
        for name in ("train", "replay")
        for example in read_examples(world.dataset / f"{name}.jsonl")
    ]
    model: Any = AutoModelForCausalLM.from_pretrained(world.base, dtype=torch.float32)
    decayed = [weight for weight in model.parameters() if weight.ndim >= 2]
    spared = [weight for weight in model.parameters() if weight.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": spared, "weight_decay": 0.0}])
    order = Order(examples=40, replay=10, batch=8, share=0.3, seed=plan["seed"])
    losses, norms = [], []
    for step in range(1, plan["steps"] + 1):
        rows = [encoded[index] for index in order.picks(step)]
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows])
        mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows])
        labels = torch.tensor([row.labels + [-100] * (longest - len(row.ids)) for row in rows])
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5).item())
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * rate_factor("cosine", step, steps=12, warmup=2)
        optimizer.step()
        losses.append(loss.item())
    assert ours.losses == pytest.approx(losses, abs=1e-5)
    assert [e["gradient_norm"] for e in ours.events if e["type"] == "step"] == pytest.approx(norms, abs=1e-4)
    trained = tensors_of(ours.model)
    for name, weight in model.state_dict().items():
        if name in trained:
            assert torch.allclose(trained[name], weight, atol=1e-5), name


def test_the_same_job_gives_the_same_bits(world: World) -> None:
    plan = make_plan(adapter="lora", dropout=0.2)
    assert weights_of(world.train("twin-1", plan).model) == weights_of(world.train("twin-2", plan).model)
    assert weights_of(world.train("other", make_plan(dropout=0.2, seed=8)).model) != weights_of(
        world.root / "jobs/twin-1/artifacts/model"
    )


def test_checkpointing_changes_memory_and_not_the_result(world: World) -> None:
    plan = {"adapter": "full", "learning_rate": 1e-3}
    kept = world.train("kept", make_plan(**plan))
    again = world.train("again", make_plan(checkpointing=True, **plan))
    assert furthest(kept.model, again.model) < 1e-6


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_bf16_learns_like_fp32_and_keeps_trained_weights_in_full_precision(world: World, adapter: str) -> None:
    values = {"adapter": adapter, "dropout": 0.0, "steps": 20, "schedule": "constant", "learning_rate": 1e-2}
    exact = world.train(f"fp32-{adapter}", make_plan(**values))
    rough = world.train(f"bf16-{adapter}", make_plan(base_precision="bf16", **values))
    assert rough.losses == pytest.approx(exact.losses, rel=0.05)
    saved = load_file(max(rough.folder.checkpoints.iterdir()) / "weights.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


def test_every_step_is_told_and_the_result_sums_them_up(world: World) -> None:
    done = world.train("told", make_plan(steps=9, save_every=4, validate_every=4))
    steps = [event for event in done.events if event["type"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 10))
    assert [event["step"] for event in done.events if event["type"] == "evaluated"] == [4, 8, 9]
    assert [event["step"] for event in done.events if event["type"] == "saved"] == [4, 8, 9]
    assert {path.name for path in done.folder.checkpoints.iterdir()} == {"step-000008", "step-000009"}
    assert steps[-1]["eta_seconds"] == 0
    numbers = done.result["training"]
    assert numbers["steps"] == 9
    assert numbers["first_loss"] == done.losses[0]
    assert numbers["final_loss"] == pytest.approx(sum(done.losses) / 9)
    assert numbers["best_validation_loss"] == min(e["loss"] for e in done.events if e["type"] == "evaluated")
    assert numbers["tokens"] == steps[-1]["tokens"]
    assert numbers["peak_memory_bytes"] > 1e8
    assert json.loads((done.model / "training.json").read_text())["training"] == numbers


def test_validation_is_the_mean_over_learnt_tokens_of_held_out_rows(world: World) -> None:
    done = world.train("validated", make_plan(adapter="full", steps=4, validate_every=4))
    model: Any = AutoModelForCausalLM.from_pretrained(done.model, dtype=torch.float32)
    tokenizer, template = load_tokenizer(world.base), load_template(world.base)
    total, terms = 0.0, 0
    for example in read_examples(world.dataset / "validation.jsonl"):
        encoded = encode_example(example, tokenizer, template)
        labels = torch.tensor([encoded.labels])
        with torch.no_grad():
            count = int((labels[:, 1:] != -100).sum())
            total += model(input_ids=torch.tensor([encoded.ids]), labels=labels).loss.item() * count
        terms += count
    assert done.result["training"]["best_validation_loss"] == pytest.approx(total / terms, abs=1e-5)


def test_a_loss_that_is_no_number_three_times_ends_the_job_and_names_the_step(world: World) -> None:
    with pytest.raises(Diverged, match=r"the last of them step \d+"):
        world.train("nan", make_plan(adapter="full", learning_rate=1e30, warmup=0, clip=1e30, steps=20))


def test_plain_text_is_learnt_whole(world: World, tmp_path: Path) -> None:
    dataset = tmp_path / "texts"
    dataset.mkdir()
    write_rows(dataset / "train.jsonl", [{"row": n, "text": "oak elm ash " * 4} for n in range(1, 20)])
    plan = make_plan(steps=15, learning_rate=2e-2, dropout=0.0, schedule="constant", rank=16)
    done = world.train("texts", plan, dataset=str(dataset))
    assert done.losses[-1] < done.losses[0]
    assert done.result["training"]["best_validation_loss"] is None


def test_what_is_too_long_is_left_out_and_counted(world: World, tmp_path: Path) -> None:
    dataset = tmp_path / "long"
    dataset.mkdir()
    rows = [{"row": n, "text": "oak " * (4 if n % 2 else 60)} for n in range(1, 11)]
    write_rows(dataset / "train.jsonl", rows)
    done = world.train("long", make_plan(steps=1, sequence_length=32), dataset=str(dataset))
    warned = next(event for event in done.events if event["type"] == "warned")
    assert "5 examples longer than 32 tokens" in warned["message"]
    with pytest.raises(DataRejected, match="at most 4 tokens"):
        world.train("longer", make_plan(steps=1, sequence_length=4), dataset=str(dataset))


def test_a_base_with_missing_or_foreign_weights_is_refused(world: World, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    base = build_base(tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    missing = {name: value for name, value in tensors.items() if "layers.1.mlp.up_proj" not in name}
    save_file(missing, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidBaseModel, match="1 weights are missing"):
        world.train("missing", make_plan(steps=1), base=str(base))
    save_file(tensors | {"stranger": torch.zeros(2)}, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidBaseModel, match="stranger"):
        world.train("stranger", make_plan(steps=1), base=str(base))


def test_a_tokenizer_of_another_model_is_refused(world: World, tmp_path: Path) -> None:
    base = build_base(tmp_path / "base", embeddings=300)
    with pytest.raises(InvalidBaseModel, match="embeddings for 300 only"):
        world.train("vocabulary", make_plan(steps=1), base=str(base))


def test_a_device_that_is_not_there_is_named(world: World) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(JobFailed, match="cuda:0"):
        world.train("nowhere", make_plan(devices=["cuda:0"]))


def test_the_rates_are_those_of_transformers() -> None:
    from transformers import get_scheduler

    for schedule in ("cosine", "linear"):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        peer = get_scheduler(schedule, optimizer, num_warmup_steps=5, num_training_steps=50)
        # Its first step has rate 0; ours begins one further, so that no step is wasted.
        theirs = []
        for _ in range(50):
            optimizer.step()
            peer.step()
            theirs.append(peer.get_last_lr()[0])
        ours = [rate_factor(schedule, step, steps=50, warmup=5) for step in range(1, 51)]  # type: ignore[arg-type]
        assert ours[:5] == pytest.approx(theirs[:5])
        assert ours[6:] == pytest.approx(theirs[5:49])
