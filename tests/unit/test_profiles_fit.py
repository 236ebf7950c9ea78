"""What fits: the choices an expert would make, laws that hold for every machine and model, and refusals that help."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import spec as specs
from appliance.errors import DoesNotFit, UnknownName
from profiles.devices.described import describe_machine
from profiles.fitting import Question
from profiles.model import catalogue_model, catalogue_names
from profiles.planner import make_plan

DENSE = [name for name in catalogue_names() if not catalogue_model(name).experts]


def plan(
    name: str, hardware: str, values: dict[str, Any] | None = None, *, length: int = 512, rows: int = 900
) -> dict[str, Any]:
    spec = specs.parse(specs.with_values({}, values or {}))
    dataset = {"rows": {"kept": rows}, "tokens": {"longest": length, "mean": length / 3}}
    return make_plan(
        Question(spec=spec, dataset=dataset, model=catalogue_model(name), machine=describe_machine(hardware))
    )


FULL = {"training.method": "full"}
# Model, machine, what is asked, length; then precision, whether activations must be recomputed (None: either is
# defensible) and the least and the largest micro-batch an expert would take; or no plan at all.
CASES: list[tuple[str, str, dict[str, Any], int, tuple[str, bool | None, int, int] | None]] = [
    ("smollm2-135m", "fake:host=32GB", {}, 512, ("fp32", False, 8, 16)),
    ("smollm2-135m", "fake:8GB", {}, 512, ("bf16", None, 4, 16)),
    ("smollm2-135m", "fake:24GB", FULL, 512, ("bf16", False, 8, 16)),
    ("smollm2-1.7b", "fake:host=8GB", {}, 256, ("bf16", None, 1, 8)),
    ("qwen2.5-0.5b", "RTX3090", {}, 512, ("bf16", False, 4, 16)),
    ("qwen2.5-0.5b", "RTX3090", FULL, 512, ("bf16", False, 2, 8)),
    ("qwen2.5-1.5b", "T4,host=64GB", {}, 512, ("fp32", None, 1, 4)),
    ("llama-3.2-1b", "RTX4090", {}, 512, ("bf16", False, 4, 16)),
    ("llama-3.2-1b", "RTX4090", FULL, 512, None),  # 16 bytes a parameter are 20 GB before the first activation
    ("llama-3.2-1b", "A100-40GB", FULL, 512, ("bf16", None, 2, 16)),
    ("llama-3.2-3b", "RTX4090", {}, 512, ("bf16", False, 2, 8)),
    ("llama-3.2-3b", "A100-80GB", FULL, 512, ("bf16", None, 2, 16)),
    ("llama-3.2-3b", "T4,host=64GB", {}, 512, None),  # a T4 has no bf16, and 12.9 GB of fp32 leave too little
    ("llama-3.1-8b", "RTX4090", {}, 512, ("bf16", None, 1, 4)),
    ("llama-3.1-8b", "RTX4090", {}, 2048, ("bf16", True, 1, 1)),
    ("llama-3.1-8b", "RTX4090", {}, 8192, None),
    ("llama-3.1-8b", "L40S,host=64GB", {}, 2048, ("bf16", False, 1, 2)),
    ("llama-3.1-8b", "A100-80GB", {}, 2048, ("bf16", False, 2, 4)),
    ("llama-3.1-8b", "A100-80GB,host=256GB", FULL, 512, None),  # fp32 weights and both states are 128 GB
    ("llama-3.1-8b", "fake:180GB,host=256GB", FULL, 512, ("bf16", None, 2, 16)),
    ("llama-3.1-8b", "fake:16GB", {}, 512, None),
    ("mistral-7b", "RTX4090", {}, 1024, ("bf16", True, 2, 8)),
    ("qwen2.5-14b", "RTX4090", {}, 512, None),
    ("qwen2.5-14b", "L40S,host=64GB", {}, 1024, ("bf16", None, 1, 4)),
    ("gemma-2-9b", "A100-40GB,host=64GB", {}, 512, ("bf16", None, 1, 8)),
    ("phi-4", "A100-80GB,host=64GB", {}, 1024, ("bf16", False, 1, 4)),
    ("qwen2.5-32b", "H100,host=128GB", {}, 512, ("bf16", True, 2, 8)),
    ("llama-3.1-70b", "H100,host=256GB", {}, 512, None),
    ("llama-3.1-70b", "H200,host=256GB", {}, 512, None),  # 141 GB of weights in bf16 alone
    ("mixtral-8x7b", "H200,host=128GB", {}, 512, ("bf16", None, 2, 16)),
]


@pytest.mark.parametrize(("name", "hardware", "asked", "length", "expected"), CASES)
def test_the_plan_is_what_an_expert_would_choose(
    name: str,
    hardware: str,
    asked: dict[str, Any],
    length: int,
    expected: tuple[str, bool | None, int, int] | None,
) -> None:
    if expected is None:
        with pytest.raises(DoesNotFit, match="short"):
            plan(name, hardware, asked, length=length)
        return
    made = plan(name, hardware, asked, length=length)
    precision, recomputed, least, most = expected
    assert made["method"] == asked.get("training.method", "lora")
    assert made["base_precision"] == precision
    assert recomputed is None or made["checkpointing"] == recomputed
    assert least <= made["micro_batch"] <= most
    assert made["micro_batch"] * made["accumulation"] == made["batch"] == 16
    assert all(", because " in reason for reason in made["reasons"].values())
    assert {"epochs", "replay_share", "rank" if made["adapter"] == "lora" else "batch"} <= set(made["reasons"])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(DENSE), st.integers(4, 200), st.integers(1, 60), st.sampled_from(["lora", "full"]))
def test_more_memory_never_makes_a_plan_slower(name: str, size: int, more: int, method: str) -> None:
    asked = {"training.method": method, "training.goal": "fast"}
    try:
        small = plan(name, f"fake:{size}GB,host=512GB", asked)
    except DoesNotFit:
        return
    large = plan(name, f"fake:{size + more}GB,host=512GB", asked)
    assert large["seconds"]["expected"] <= small["seconds"]["expected"]


LLAMAS = ["smollm2-135m", "smollm2-360m", "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "llama-3.1-70b"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_larger_model_of_a_kind_never_needs_less(method: str) -> None:
    asked = {"training.method": method, "training.micro_batch": 1}
    needs = [plan(name, "fake:4000GB,host=4000GB", asked)["memory"]["device_bytes"] for name in LLAMAS]
    assert needs == sorted(needs)


@pytest.mark.parametrize("name", ["smollm2-135m", "llama-3.2-3b", "llama-3.1-8b", "gemma-2-2b"])
def test_shrinking_a_gpu_walks_down_to_refusal_and_never_back(name: str) -> None:
    """First full no longer fits, then activations are recomputed, then examples are taken one by one, then none."""
    seen: list[tuple[int, bool, float]] = []
    for size in range(400, 0, -2):
        try:
            made = plan(name, f"fake:{size}GB,host=512GB", {"training.goal": "fast"})
        except DoesNotFit:
            seen.append((0, False, float("inf")))
            continue
        full = next(other for other in made["alternatives"] if other["method"] == "full")
        seen.append((1, full["fits"], made["seconds"]["expected"]))
    assert [step[0] for step in seen] == sorted((step[0] for step in seen), reverse=True)
    assert [step[1] for step in seen] == sorted((step[1] for step in seen), reverse=True)
    assert [step[2] for step in seen] == sorted(step[2] for step in seen)
    assert seen[0][:2] == (1, True)
    if name == "llama-3.1-8b":
        assert seen[-1][0] == 0


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(catalogue_names()),
    st.integers(2, 48),
    st.sampled_from([{}, FULL, {"training.micro_batch": 8}]),
    st.sampled_from([256, 2048, 8192]),
)
def test_every_fix_that_is_offered_would_fit(name: str, size: int, asked: dict[str, Any], length: int) -> None:
    hardware = f"fake:{size}GB,host=512GB"
    try:
        plan(name, hardware, asked, length=length)
    except DoesNotFit as refused:
        for fix in refused.fixes:
            plan(name, hardware, asked | fix["set"], length=length)


def test_a_change_alone_may_not_do_and_then_both_are_offered() -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan("llama-3.1-8b", "RTX4090", FULL, length=8192)
    assert any(set(fix["set"]) == {"training.method", "training.sequence_length"} for fix in caught.value.fixes)


def test_where_no_change_helps_a_model_that_would_fit_is_named() -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan("llama-3.1-70b", "RTX4090")
    named = (caught.value.hint or "").split("; ")[1].split()[0]
    assert plan(named, "RTX4090")["base_precision"] == "bf16"


@pytest.mark.parametrize("name", ["qlora", "adalora", "dora"])
def test_a_method_that_the_trainer_lacks_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UnknownName, match="is the nearest"):
        plan("gpt2", "RTX4090", {"training.method": name})


@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_a_precision_that_the_trainer_lacks_is_refused(precision: str) -> None:
    with pytest.raises(DoesNotFit, match=precision):
        plan("gpt2", "RTX4090", {"base.precision": precision})


def test_weights_must_pass_through_the_host() -> None:
    with pytest.raises(DoesNotFit, match="host memory"):
        plan("llama-3.1-8b", "RTX4090,host=8GB")


def test_a_processor_short_of_memory_holds_the_base_in_bf16_and_says_why() -> None:
    made = plan("smollm2-1.7b", "fake:host=8GB", length=128)
    assert made["base_precision"] == "bf16"
    assert "would not fit" in made["reasons"]["base_precision"]


def test_a_plan_only_has_what_the_trainer_can_do() -> None:
    from appliance.training.plan import read_plan

    for name, hardware, asked, length, expected in CASES:
        if expected:
            read = read_plan(plan(name, hardware, asked, length=length))
            assert (read.optimizer, read.packing) == ("adamw", False)
