"""The engine against Transformers on real tiny models, and an evaluation through the worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from appliance.data.chat import Encoded, encode_prompt, end_ids, load_template, load_tokenizer
from appliance.data.example import message_from_dict
from appliance.evaluation.engine.generate import Decoding, answers
from appliance.evaluation.engine.likelihood import IGNORED, losses
from appliance.jobdir import Job, JobDir

REPOSITORY = Path(__file__).parents[2]
VOCABULARY = 1024


def tiny_model(seed: int) -> PreTrainedModel:
    """A random Llama whose weights are large enough that its answers differ from prompt to prompt."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        initializer_range=0.6,
        bos_token_id=1,
        eos_token_id=5,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def one_at_a_time(model: PreTrainedModel, prompts: Sequence[list[int]], stop: set[int], longest: int) -> list[Any]:
    """What ``generate`` answers to each prompt alone, without its stop token."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=sorted(stop),
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        found.append(made[:-1] if made[-1] in stop else made)
    return found


def test_batched_answers_equal_those_of_transformers_one_at_a_time() -> None:
    model = tiny_model(1)
    generator = torch.Generator().manual_seed(2)
    prompts = [
        torch.randint(6, VOCABULARY, (int(length),), generator=generator).tolist()
        for length in torch.randint(1, 60, (41,), generator=generator)
    ]
    # A random model seldom says one given token, so a third of the vocabulary ends an answer.
    stop = set(range(0, VOCABULARY, 12))
    expected = one_at_a_time(model, prompts, stop, 20)
    assert len({len(answer) for answer in expected}) > 5
    for batch in (1, 7, 64):
        how = Decoding(stop=stop, pad=0, max_new_tokens=20, positions=96, batch=batch)
        assert answers(model, prompts, how) == expected


def test_answers_of_the_starter_equal_those_of_transformers(starter: Path) -> None:
    """Real weights, real exercises, the template's own end token."""
    tokenizer, template = load_tokenizer(starter), load_template(starter)
    lines = (starter.parent / "skills.jsonl").read_text(encoding="utf-8").splitlines()[::18]
    prompts = [
        encode_prompt([message_from_dict(m) for m in json.loads(line)["messages"]], tokenizer, template)
        for line in lines
    ]
    model = AutoModelForCausalLM.from_pretrained(starter, dtype=torch.float32).eval()
    stop = set(end_ids(tokenizer, template))
    how = Decoding(stop=stop, pad=tokenizer.pad_id, max_new_tokens=40, positions=512)
    found = answers(model, prompts, how)
    assert found == one_at_a_time(model, prompts, stop, 40)
    assert all(answer and len(answer) < 40 for answer in found)


def test_an_answer_ends_where_the_model_cannot_see_further() -> None:
    model = tiny_model(3)
    how = Decoding(stop=(), pad=0, max_new_tokens=50, positions=96)
    found = answers(model, [[7] * 90, [7] * 96, [7] * 10], how)
    assert [len(answer) for answer in found] == [6, 0, 50]


def test_progress_is_told_batch_by_batch_and_may_stop_the_work() -> None:
    class Enough(Exception):
        pass

    seen: list[int] = []

    def advance(count: int) -> None:
        seen.append(count)
        if len(seen) == 2:
            raise Enough

    how = Decoding(stop=(), pad=0, max_new_tokens=2, positions=96, batch=4)
    with pytest.raises(Enough):
        answers(tiny_model(1), [[9]] * 12, how, advance)
    assert seen == [4, 4]


def test_losses_equal_cross_entropy_of_each_example_alone() -> None:
    model = tiny_model(4)
    generator = torch.Generator().manual_seed(5)
    examples, expected = [], []
    for length in (2, 9, 30, 30, 41, 3):
        ids = torch.randint(6, VOCABULARY, (length,), generator=generator)
        labels = ids.clone()
        labels[: length // 2] = IGNORED
        examples.append(Encoded(ids.tolist(), labels.tolist()))
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1]
        expected.append(float(functional.cross_entropy(logits, labels[1:], ignore_index=IGNORED, reduction="sum")))
    assert losses(model, examples) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base, LoRA weights on it that move it, and the merged model in the full layout."""
    root = tmp_path_factory.mktemp("models")
    source = REPOSITORY / "appliance" / "starter" / "model"
    base = tiny_model(11)
    base.save_pretrained(root / "base")
    torch.manual_seed(12)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, weights in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.5)
    adapted.save_pretrained(root / "adapter")
    adapted.merge_and_unload().save_pretrained(root / "full")
    for folder in ("base", "adapter", "full"):
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (source / name).is_file():
                (root / folder / name).write_bytes((source / name).read_bytes())
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    rows = [
        {
            "row": number,
            "messages": [
                {"role": "user", "content": f"Say {number}"},
                {"role": "assistant", "content": f"It is {number}."},
            ],
        }
        for number in range(1, 31)
    ]
    rows.append({"row": 31, "text": "word " * 200})
    (root / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    skills = [
        {"skill": skill, "messages": [{"role": "user", "content": f"{skill} {number}"}], "expected": f"{number}"}
        for skill in ("count", "sort")
        for number in range(8)
    ]
    (root / "skills.jsonl").write_text("".join(json.dumps(skill) + "\n" for skill in skills))
    return root


def evaluate(folder: Path, inputs: dict[str, Any], spec: dict[str, Any]) -> tuple[dict[str, Any], JobDir]:
    """Run the job through the worker, as the shim does, and return its result."""
    jobdir = JobDir(folder)
    body = {"evaluation": {"max_new_tokens": 8, **spec}, "name": "tiny"}
    jobdir.create(Job(id="j-tiny", kind="evaluate", name="tiny", spec=body, inputs=inputs))
    command = [sys.executable, "-m", "appliance.work", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=240, check=False)
    result = jobdir.read_result(jobdir.last_attempt())
    assert result is not None, done.stderr
    return result, jobdir


def test_an_adapter_is_evaluated_against_its_base_through_the_worker(
    models: Path, dataset: Path, tmp_path: Path
) -> None:
    inputs = {
        "model": {"path": str(models / "adapter"), "kind": "adapter", "base": str(models / "base")},
        "dataset": str(dataset),
    }
    result, jobdir = evaluate(tmp_path / "job", inputs, {"retention": str(dataset / "skills.jsonl")})
    assert result["ok"], result
    found = result["result"]["evaluation"]
    assert [(row["task"], row["metric"], row["n"]) for row in found["tasks"]] == [
        ("held_out", "exact_match", 30),
        ("held_out", "token_f1", 30),
        ("held_out_loss", "nll", 30),
    ]
    loss = found["tasks"][2]
    assert loss["value"] != loss["baseline"]
    assert found["skipped"] == {"held_out_loss": 1}
    assert set(found["retention"]["skills"]) == {"count", "sort"}
    assert found["retention"]["passed"] is None
    assert found["gate"]["lines"]
    assert 0 < len(result["result"]["samples"]) <= 20
    lines = Path(result["result"]["answers"]).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 46
    # The adapter is really switched off for the base: two models answer differently.
    assert any(json.loads(line)["base"] != json.loads(line)["tuned"] for line in lines)
    events = [json.loads(line) for line in jobdir.events.read_text().splitlines()]
    progress = [event for event in events if event["type"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 2 * (30 + 30 + 16)
    assert any(event["type"] == "warned" and event["code"] == "exercises-skipped" for event in events)


def test_a_merged_model_scores_like_its_adapter_and_its_base_like_itself(
    models: Path, dataset: Path, tmp_path: Path
) -> None:
    spec = {"retention": None}
    kinds = {
        "adapter": {"path": str(models / "adapter"), "kind": "adapter", "base": str(models / "base")},
        "full": {"path": str(models / "full"), "kind": "full", "base": str(models / "base")},
    }
    rows = {}
    for kind, model in kinds.items():
        result, _ = evaluate(tmp_path / kind, {"model": model, "dataset": str(dataset)}, spec)
        assert result["ok"], result
        rows[kind] = result["result"]["evaluation"]["tasks"]
    for one, other in zip(rows["adapter"], rows["full"], strict=True):
        assert one["baseline"] == other["baseline"]
        assert one["value"] == pytest.approx(other["value"], rel=1e-4)


def test_a_missing_base_is_named(models: Path, tmp_path: Path) -> None:
    model = {"path": str(models / "adapter"), "kind": "adapter", "base": str(tmp_path / "nowhere")}
    result, _ = evaluate(tmp_path / "job", {"model": model, "dataset": None}, {})
    assert result["error"]["code"] == "file-not-found"
    assert "nowhere" in result["error"]["message"]


def test_a_model_with_damaged_weights_is_refused_and_not_scored(models: Path, dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    model = LlamaForCausalLM.from_pretrained(models / "base")
    model.model.norm.weight.data.fill_(float("nan"))
    model.save_pretrained(broken)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (broken / name).write_bytes((models / "base" / name).read_bytes())
    inputs = {"model": {"path": str(broken), "kind": "full", "base": None}, "dataset": str(dataset)}
    result, _ = evaluate(tmp_path / "job", inputs, {})
    assert result["error"]["code"] == "diverged"
