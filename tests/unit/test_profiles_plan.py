"""Profiles and plans: counts against the real model, memory that grows as it must, refusals that help."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance import spec as specs
from appliance.errors import DoesNotFit, UnknownName, UsageError
from profiles import memory
from profiles.activations import Shape
from profiles.catalogue import find_gpu
from profiles.devices import Machine, read_devices, read_machine
from profiles.devices.described import describe_machine
from profiles.fitting import Question
from profiles.methods import known_methods, load_method
from profiles.model import ModelProfile, catalogue_model
from profiles.planner import make_plan

LLAMA_8B = catalogue_model("llama-3.1-8b")
DATASET = {"rows": {"kept": 900}, "tokens": {"longest": 600, "mean": 200}}


def machine(description: str) -> Machine:
    return read_machine({"LUTHIER_DEVICES": f"fake:{description}"})


def plan(values: dict[str, Any], *, hardware: str = "1x24GB", model: ModelProfile = LLAMA_8B) -> dict[str, Any]:
    spec = specs.parse(specs.with_values({}, values))
    return make_plan(Question(spec=spec, dataset=DATASET, model=model, machine=machine(hardware)))


def test_the_lora_parameters_of_a_known_model_are_the_published_number() -> None:
    """41.9 million for rank 16 on all linear layers of Llama 3.1 8B, as peft prints it."""
    assert memory.trainable_parameters(LLAMA_8B, "lora", 16) == 41_943_040


def test_every_value_of_a_plan_has_its_reason() -> None:
    made = plan({})
    for key in ("method", "base_precision", "micro_batch", "accumulation", "sequence_length", "steps", "learning_rate"):
        assert "because" in made["reasons"][key]
        assert made["reasons"][key].split(",")[0].strip()
    assert made["micro_batch"] * made["accumulation"] == made["batch"]
    assert made["memory"]["device_bytes"] == sum(made["memory"]["parts"].values())


def test_what_was_asked_is_what_is_planned() -> None:
    asked = {
        "training.rank": 4,
        "training.steps": 77,
        "training.batch": 8,
        "training.micro_batch": 2,
        "training.warmup": 0,
    }
    made = plan(asked)
    assert {key: made[key.partition(".")[2]] for key in asked} == asked
    assert made["reasons"]["rank"] == "4, because it was asked for"


def test_a_job_that_cannot_fit_names_the_shortfall_and_changes_that_would() -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan({"training.method": "full"})
    assert "short" in caught.value.message
    assert caught.value.fixes
    for fix in caught.value.fixes:
        assert plan({"training.method": "full"} | fix["set"])["memory"]["device_bytes"] < 24e9


def test_more_of_anything_needs_more_memory() -> None:
    base = Shape(
        adapter="lora", precision="bf16", micro_batch=2, sequence_length=512, checkpointing=False, rank=16, on_cpu=False
    )
    size = memory.device_bytes(memory.memory_parts(LLAMA_8B, base))
    changes: list[dict[str, Any]] = [
        {"micro_batch": 4},
        {"sequence_length": 1024},
        {"rank": 64},
        {"precision": "fp32"},
        {"adapter": "full"},
    ]
    for change in changes:
        assert memory.device_bytes(memory.memory_parts(LLAMA_8B, replace(base, **change))) > size
    assert memory.device_bytes(memory.memory_parts(LLAMA_8B, replace(base, checkpointing=True))) < size


def test_an_untested_family_is_labelled_and_gets_a_larger_margin() -> None:
    known, unknown = plan({}), plan({}, model=replace(LLAMA_8B, family="generic", tested=False))
    assert "untested" in unknown["reasons"]["family"]
    assert "measured" in known["reasons"]["family"]
    assert "untested" not in known["reasons"]["family"]
    shape = Shape(
        adapter="lora", precision="bf16", micro_batch=1, sequence_length=64, checkpointing=True, rank=16, on_cpu=True
    )
    margins = [memory.memory_parts(model, shape)["margin"] for model in (LLAMA_8B, replace(LLAMA_8B, tested=False))]
    assert margins[0] < margins[1]


def test_a_small_device_makes_a_small_micro_batch_of_the_same_batch() -> None:
    large, small = plan({}, hardware="1xA100-80GB"), plan({}, hardware="1x24GB")
    assert large["micro_batch"] > small["micro_batch"]
    assert large["batch"] == small["batch"]


def test_small_models_learn_faster() -> None:
    assert plan({}, model=replace(LLAMA_8B, hidden=256))["learning_rate"] > 5 * plan({})["learning_rate"]


def test_a_wrong_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        plan({"training.method": "lorra"})
    assert caught.value.hint == "Did you mean 'lora'?"


@pytest.mark.parametrize("name", known_methods())
def test_every_method_recipe_parses_and_names_parts_that_exist(name: str) -> None:
    from appliance.training import ADAPTERS, OBJECTIVES

    method = load_method(name)
    assert method.adapter in ADAPTERS
    assert method.objective in OBJECTIVES
    assert set(method.defaults["epochs"]) == {"fast", "balanced", "best"}


def test_fake_machines_are_what_they_say() -> None:
    gpus = machine("2x24GB,RTX4090,host=64GB").gpus
    assert [gpu.memory_total_bytes for gpu in gpus] == [24 * 10**9] * 3
    assert machine("8xA100-80GB,host=512GB").host_total_bytes == 512 * 10**9
    assert gpus[0].torch_name == "cpu"


@pytest.mark.parametrize("text", ["fake:", "fake:0x24GB", "fake:banana", "fake:2x24GB,host", "fake:99xRTX4090"])
def test_an_unreadable_machine_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="does not describe"):
        read_devices({"LUTHIER_DEVICES": text})


def test_a_gpu_is_found_by_the_name_its_driver_gives() -> None:
    drivers = {
        "NVIDIA A100-SXM4-80GB": "A100 80GB",
        "NVIDIA GeForce RTX 4090": "GeForce RTX 4090",
        "Tesla T4": "Tesla T4",
    }
    for driver, name in drivers.items():
        found = find_gpu(driver)
        assert found is not None
        assert found.name == name
    assert find_gpu("NVIDIA A10G") is None


def test_this_machine_has_a_processor() -> None:
    devices = read_devices({})
    assert devices[-1].kind == "cpu"
    assert (devices[-1].memory_total_bytes or 0) > 10**8


def test_a_machine_is_described_by_a_sentence_a_name_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('host_gb = 64\n[[gpu]]\nname = "RTX4090"\n[[gpu]]\nmemory_gb = 16\ncount = 2\n')
    items = [device.as_dict() for device in read_devices({"LUTHIER_DEVICES": "fake:A100-80GB,host=64GB"})]
    (tmp_path / "gpu.json").write_text(json.dumps({"items": items}))
    sizes = {
        text: [device.memory_total_bytes for device in describe_machine(text).devices]
        for text in ("fake:1x24GB", "RTX4090,host=64GB", str(tmp_path / "m.toml"), str(tmp_path / "gpu.json"))
    }
    giga = 10**9
    assert list(sizes.values()) == [
        [24 * giga, 32 * 2**30],
        [24 * giga, 64 * giga],
        [24 * giga, 16 * giga, 16 * giga, 64 * giga],
        [80 * giga, 64 * giga],
    ]
    assert describe_machine("RTX4090").gpus[0].torch_name == "cuda:0"


@pytest.mark.parametrize(
    "text",
    ["[", "{}", '{"items": [{"kind": "gpu"}]}', '{"items": []}', '{"gpu": 3}', '{"gpu": [{}]}', '{"cpu": 1}', "[]"],
)
def test_a_file_that_describes_no_machine_says_what_it_wants(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        describe_machine(str(tmp_path / "m.json"))
    assert caught.value.hint


def test_an_unknown_gpu_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        describe_machine("RTX409")
    assert "RTX4090" in (caught.value.hint or "")


def test_a_plan_for_a_shape_without_a_tokenizer_says_that_no_length_was_measured() -> None:
    spec = specs.parse({})
    made = make_plan(
        Question(spec=spec, dataset={"rows": {"kept": 10}}, model=LLAMA_8B, machine=describe_machine("fake:1x24GB"))
    )
    assert "not known" in made["reasons"]["sequence_length"]
    assert "catalogue" in made["reasons"]["sequence_length"]
    assert made["devices"] == ["cuda:0"]


def test_a_processor_trains_in_fp32_and_the_reason_is_true() -> None:
    reason = plan({}, hardware="host=64GB", model=catalogue_model("smollm2-135m"))["reasons"]["base_precision"]
    assert reason.startswith("fp32, because")
    assert "bit for bit" in reason
