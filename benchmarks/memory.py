"""Predicted against measured memory of training: ``python benchmarks/memory.py [--every N] [--only TEXT]``.

Every case builds a random model of its family, wraps it as the trainer does, and takes two optimizer steps of two
micro-batches each (the states of AdamW exist from the first, so the second step is the peak) on the processor, with
every allocation and release of torch's CPU allocator recorded by its profiler. Weights and all that stays are counted
from the tensors. Predicted is the closed form of ``profiles.memory`` without its margin and without the runtime.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from appliance.text import bytes_text
from appliance.training import ADAPTERS, OBJECTIVES
from appliance.training.engine.model import Network
from appliance.training.engine.optimizer import make_optimizer, trainable
from appliance.training.seams import Batch
from profiles import memory
from profiles.activations import Shape
from profiles.model import ModelProfile, read_model

WIDE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 4096,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2: dict[str, Any] = {"n_embd": 256, "n_layer": 6, "n_head": 8, "vocab_size": 4096, "n_positions": 2048}
FAMILIES = ("mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "smollm3", "gpt2")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration to measure."""

    family: str
    changes: tuple[tuple[str, Any], ...] = ()
    adapter: str
    precision: str
    checkpointing: bool
    rows: int
    length: int
    rank: int = 16

    @property
    def label(self) -> str:
        changed = "".join(f" {key.removeprefix('num_')}={value}" for key, value in self.changes)
        return self.family + changed


def cases() -> Iterator[Case]:
    """Llama in every combination, and every other family in those that differ."""
    both = (False, True)
    for adapter, precision, checkpointing, (rows, length) in itertools.product(
        ("lora", "full"), ("fp32", "bf16"), both, ((1, 512), (4, 128), (8, 256))
    ):
        yield Case(
            family="llama", adapter=adapter, precision=precision, checkpointing=checkpointing, rows=rows, length=length
        )
    small = (("vocab_size", 512),)
    for family, changes in (
        ("llama", (("num_hidden_layers", 12),)),
        ("llama", (("vocab_size", 32_000),)),
        ("llama", (("intermediate_size", 1408), ("hidden_size", 512), ("head_dim", 64))),
        ("llama", (("num_key_value_heads", 8),)),
        ("llama", small),
        ("phi3", (*small, ("num_key_value_heads", 8))),
        ("gemma2", small),
    ):
        for adapter, checkpointing in itertools.product(("lora", "full"), both):
            yield Case(
                family=family,
                changes=changes,
                adapter=adapter,
                precision="bf16" if adapter == "lora" else "fp32",
                checkpointing=checkpointing,
                rows=2,
                length=256,
            )
    # A step whose worst instant is the gradient of an embedding that is also the head.
    tied = (("vocab_size", 32_000), ("tie_word_embeddings", True))
    for precision in ("fp32", "bf16"):
        yield Case(
            family="llama", changes=tied, adapter="full", precision=precision, checkpointing=True, rows=1, length=64
        )
    for adapter, precision in (("lora", "fp32"), ("full", "bf16")):
        yield Case(
            family="llama", changes=small, adapter=adapter, precision=precision, checkpointing=True, rows=2, length=256
        )
    for family, (adapter, precision), checkpointing in itertools.product(
        FAMILIES, (("lora", "bf16"), ("full", "fp32")), both
    ):
        yield Case(family=family, adapter=adapter, precision=precision, checkpointing=checkpointing, rows=2, length=256)


def build(case: Case, folder: Path) -> tuple[Any, ModelProfile]:
    """The model of a case as ``load_base`` would give it, and its profile."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = GPT2 if case.family == "gpt2" else WIDE | dict(case.changes)
    config = AutoConfig.for_model(case.family, **sizes)
    model: Any = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    full = case.adapter == "full"
    return model.to(torch.float32 if full or case.precision == "fp32" else torch.bfloat16), read_model(folder)


def measure(case: Case, model: Any) -> int:
    """Bytes at the peak of a training step."""
    torch.manual_seed(0)
    if case.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    options = {"rank": case.rank, "alpha": 2 * case.rank, "dropout": 0.0}
    plan: Any = type("Plan", (), {"learning_rate": 1e-4, "weight_decay": 0.01, "whole": options})
    wrapped = ADAPTERS.load(case.adapter)(**(options if case.adapter == "lora" else {})).wrap(model)
    network = Network(wrapped, case.precision)  # type: ignore[arg-type]
    ids = torch.randint(3, 500, (case.rows, case.length))
    network.choose_head(ids[:1, :16])
    network.train()
    weights = trainable(network)
    optimizer = make_optimizer(weights, plan)
    targets = torch.randint(3, 500, (ids.numel(),))
    batch = Batch(ids, torch.arange(ids.numel()), targets)
    objective = OBJECTIVES.load("sft")()

    def step() -> None:
        for _ in range(2):
            (objective.loss(network, batch) / 100).backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step()
    gc.collect()
    stays = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _tensors(network)}.values())
    stays += sum(
        value.untyped_storage().nbytes()
        for state in optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    )
    return stays + _transient(step)


def _tensors(network: Any) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _transient(step: Any) -> int:
    """The most that a step holds above what it found, from every allocation and release."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    held = most = 0
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def predict(case: Case, model: ModelProfile) -> int:
    """The closed form for the same case."""
    shape = Shape(
        adapter=case.adapter,
        precision=case.precision,
        micro_batch=case.rows,
        sequence_length=case.length,
        checkpointing=case.checkpointing,
        rank=case.rank if case.adapter == "lora" else 0,
        on_cpu=True,
    )
    parts = memory.memory_parts(model, shape)
    return sum(size for name, size in parts.items() if name not in ("margin", "runtime"))


def estimate_memory(folder: Path) -> int:
    """What ``accelerate estimate-memory`` says of training the same model with Adam in fp32: weights × 4."""
    from accelerate import init_empty_weights
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes
    from transformers import AutoConfig, AutoModelForCausalLM

    with init_empty_weights():
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    total, _ = calculate_maximum_sizes(model)
    return int(max(estimate_training_usage(total, "float32").values()))


def main() -> int:
    """Measure all cases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose line has this text")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    errors, peers = [], []
    print("| case | method | base | recompute | rows × length | predicted | measured | error | accelerate |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in itertools.islice(cases(), 0, None, options.every):
        if options.only not in str(case):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            model, described = build(case, Path(scratch))
            peer = estimate_memory(Path(scratch))
        predicted, measured = predict(case, described), measure(case, model)
        error, beside = predicted / measured - 1, peer / measured - 1
        errors.append(error)
        peers.append(beside)
        print(
            f"| {case.label} | {case.adapter} | {case.precision} | {'on' if case.checkpointing else 'off'} "
            f"| {case.rows} × {case.length} | {bytes_text(predicted)} | {bytes_text(measured)} "
            f"| {error:+.1%} | {beside:+.0%} |",
            flush=True,
        )
    sizes = sorted(map(abs, errors))
    print(
        f"\n{len(errors)} cases: median error {statistics.median(sizes):.1%}, largest {sizes[-1]:.1%}, lowest "
        f"{min(errors):+.1%}; the median error of accelerate is {statistics.median(map(abs, peers)):.0%}."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
