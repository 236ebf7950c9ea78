"""Decide what this machine will do about a spec, and give the reason of every value.

What was asked is taken as asked or refused; only what was left open is chosen. Nothing is guessed silently:
``plan["reasons"]`` has a sentence for every value, ``plan["alternatives"]`` what else would fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import DoesNotFit
from appliance.spec import TrainingSpec, TuneSpec
from appliance.text import bytes_text
from profiles import memory, throughput
from profiles.activations import Shape
from profiles.devices import Device, Machine
from profiles.methods import Method, check_method, known_methods, load_method
from profiles.model import ModelProfile

# Share of the free memory a plan may use.
_USABLE = 0.95
_MICRO_MAX = 32
_DEFAULT_LENGTH = 2048
# What the setting export.formats says where nothing else was asked.
_FORMATS = ("gguf:f16", "gguf:q8_0")


@dataclass(frozen=True, kw_only=True)
class Question:
    """Everything a plan is made from."""

    spec: TuneSpec
    dataset: Mapping[str, Any]
    """``luthier.dataset/1``."""
    model: ModelProfile
    machine: Machine
    keep_checkpoints: int = 2

    @property
    def device(self) -> Device:
        """The device that trains: the GPU with the most free memory, else the CPU."""
        gpus = sorted(self.machine.gpus, key=lambda gpu: gpu.memory_free_bytes or 0)
        return gpus[-1] if gpus else self.machine.cpu


def make_plan(question: Question) -> dict[str, Any]:
    """``luthier.plan/1`` with every value and its reason. Raises ``DoesNotFit`` and ``UnknownName``."""
    method, method_reason = _method(question.spec.training)
    reasons = {"method": method_reason}
    hyper = _hyperparameters(question, method, reasons)
    length = _sequence_length(question, reasons)
    shape = _fitting_shape(question, method, hyper, length, reasons)
    plan = hyper | _schedule(question, hyper, shape, reasons)
    parts = memory.memory_parts(question.model, shape)
    formats = question.spec.export.formats or _FORMATS
    disk = memory.disk_parts(
        question.model, method.adapter, shape.rank, keep=question.keep_checkpoints, formats=formats
    )
    _check_disk(question.machine, sum(disk.values()))
    tokens = plan["steps"] * hyper["batch"] * _mean_length(question, length)
    flops = tokens * throughput.flops_per_token(question.model, method.adapter, checkpointing=shape.checkpointing)
    seconds = throughput.training_seconds(
        question.device, flops=flops, steps=plan["steps"], micro_steps=plan["steps"] * plan["accumulation"]
    )
    return {
        "schema": "luthier.plan/1",
        "method": method.name,
        "adapter": method.adapter,
        "objective": method.objective,
        "base_precision": shape.precision,
        "devices": [question.device.torch_name],
        "optimizer": "adamw",
        "micro_batch": shape.micro_batch,
        "sequence_length": length,
        "checkpointing": shape.checkpointing,
        "packing": False,
        **plan,
        "seed": question.spec.training.seed,
        "replay_share": question.spec.data.replay_share,
        "trainable_parameters": memory.trainable_parameters(question.model, method.adapter, shape.rank),
        "parameters": question.model.parameters,
        "memory": memory.as_plan_memory(parts, on_cpu=shape.on_cpu, disk=disk),
        "seconds": seconds,
        "energy_joules": _energy(question.device, seconds["expected"]),
        "cost": None,
        "reasons": reasons,
        "alternatives": _alternatives(question, method, shape),
    }


def _method(training: TrainingSpec) -> tuple[Method, str]:
    check_method(training.method)
    if training.method != "auto":
        return load_method(training.method), f"{training.method}, because it was asked for"
    return load_method("lora"), "lora, because it trains a small delta and leaves the base model as it is"


def _hyperparameters(question: Question, method: Method, reasons: dict[str, str]) -> dict[str, Any]:
    """The values of the recipe that the spec did not set itself."""
    asked, defaults = question.spec.training, method.defaults
    learning_rate, why = _learning_rate(question.model, defaults["learning_rate_factor"])
    rank = asked.rank or defaults.get("rank")
    chosen: dict[str, tuple[Any, str]] = {
        "batch": (defaults["batch"], "it is the method's default"),
        "learning_rate": (learning_rate, why),
        "weight_decay": (defaults["weight_decay"], "it is the method's default"),
        "clip": (defaults["clip"], "it is the method's default"),
        "schedule": (defaults["schedule"], "it is the method's default"),
    }
    if method.adapter == "lora":
        chosen["rank"] = (rank, "it is the method's default")
        chosen["alpha"] = (rank * defaults["alpha_per_rank"], "it is twice the rank")
        chosen["dropout"] = (defaults["dropout"], "it is the method's default")
    values: dict[str, Any] = {"rank": None, "alpha": None, "dropout": None}
    for name, (value, reason) in chosen.items():
        given = getattr(asked, name)
        values[name] = value if given is None else given
        reasons[name] = (
            f"{values[name]:g}, because " if isinstance(values[name], float) else f"{values[name]}, because "
        )
        reasons[name] += reason if given is None else "it was asked for"
    return values


def _learning_rate(model: ModelProfile, factor: float) -> tuple[float, str]:
    """5e-5 × factor × (2000 / hidden)^0.781: the fit of the tinker cookbook for Llama shapes (2025).

    Larger models want smaller rates; the usual 2e-4 is far too low for a model of a few million parameters.
    """
    rate = 5e-5 * factor * (2000 / model.hidden) ** 0.781
    rounded = float(f"{rate:.2g}")
    return rounded, f"a model {model.hidden} wide wants 5e-5 × {factor:g} × (2000/{model.hidden})^0.78"


def _sequence_length(question: Question, reasons: dict[str, str]) -> int:
    """As long as the longest kept example, within what the model can read."""
    asked: int | None = question.spec.training.sequence_length
    context: int = question.model.context
    longest = (question.dataset.get("tokens") or {}).get("longest")
    if asked is not None:
        length: int = min(asked, context)
        reasons["sequence_length"] = f"{length}, because it was asked for" + (
            f" and the model reads no more than {context}" if asked > context else ""
        )
        return length
    if longest:
        length = min(context, max(32, math.ceil(longest / 16) * 16))
        reasons["sequence_length"] = f"{length}, because the longest kept example has {longest} tokens"
        return length
    length = min(context, _DEFAULT_LENGTH)
    unknown = "a catalogue shape has no tokenizer for" if question.model.from_catalogue else "no tokenizer measured"
    reasons["sequence_length"] = (
        f"{length}, because the lengths of the examples are not known ({unknown} them) and the model reads {context}"
    )
    return length


def _fitting_shape(
    question: Question, method: Method, hyper: Mapping[str, Any], length: int, reasons: dict[str, str]
) -> Shape:
    """The largest micro-batch that fits, without recomputation if possible. Raises ``DoesNotFit`` with fixes."""
    budget = _budget(question)
    precision, why = _precision(question, method)
    reasons["base_precision"] = f"{precision}, because {why}"
    device = question.device
    reasons["devices"] = f"{device.torch_name}, because {_device_reason(device)}"
    first = Shape(
        adapter=method.adapter,
        precision=precision,
        micro_batch=1,
        sequence_length=length,
        checkpointing=False,
        rank=hyper["rank"] or 0,
        dropout=hyper["dropout"] or 0.0,
        on_cpu=device.kind == "cpu",
    )
    for shape in _shapes(first, hyper["batch"], question.spec.training.micro_batch):
        need = memory.peak_bytes(question.model, shape)
        if need <= budget:
            reasons["micro_batch"] = (
                f"{shape.micro_batch}, because it needs {bytes_text(need)} of the {bytes_text(budget)} that may be used"
            )
            reasons["checkpointing"] = (
                "on, because activations would not fit without recomputing them"
                if shape.checkpointing
                else "off, because activations fit without recomputing them"
            )
            return shape
    raise _does_not_fit(question, replace(first, checkpointing=True), budget)


def _device_reason(device: Device) -> str:
    if device.kind == "cpu":
        return "this machine has no GPU that torch can use"
    if device.backend == "fake":
        return f"{device.name} is simulated, and the processor computes for it"
    return f"{device.name} has the most free memory"


def _shapes(first: Shape, batch: int, asked: int | None) -> Iterator[Shape]:
    """Candidates from the fastest to the most frugal; a micro-batch divides the batch."""
    sizes = [asked] if asked else [size for size in range(min(batch, _MICRO_MAX), 0, -1) if batch % size == 0]
    for checkpointing in (False, True):
        for size in sizes:
            yield replace(first, micro_batch=size, checkpointing=checkpointing)


def _budget(question: Question) -> int:
    device = question.device
    free = device.memory_free_bytes or 0
    if device.kind == "cpu":
        free -= memory.HOST_RUNTIME_BYTES
    return int(max(0, free) * _USABLE)


def _precision(question: Question, method: Method) -> tuple[str, str]:
    asked = question.spec.base.precision
    if asked in memory.PRECISION_BYTES:
        return asked, "it was asked for"
    if asked != "auto":
        raise DoesNotFit(
            f"Base precision {asked} is not available for method '{method.name}' on {question.device.name}.",
            hint=f"Use one of {', '.join(memory.PRECISION_BYTES)} or auto.",
        )
    if question.device.kind == "cpu":
        faster = ", though this processor computes bf16 about 1.2 times as fast" if question.device.bf16 else ""
        return "fp32", f"on a CPU it resumes bit for bit, and small models lose nothing by it{faster}"
    if (question.device.capability or (0, 0)) >= (8, 0):
        return "bf16", f"{question.device.name} computes bf16"
    return "fp32", f"{question.device.name} has no bf16"


def _schedule(question: Question, hyper: Mapping[str, Any], shape: Shape, reasons: dict[str, str]) -> dict[str, Any]:
    """Steps and everything counted in steps."""
    asked, batch = question.spec.training, hyper["batch"]
    kept = max(1, int(question.dataset["rows"]["kept"]))
    examples = kept / max(0.05, 1 - question.spec.data.replay_share)
    epochs = asked.epochs or _method(asked)[0].defaults["epochs"][asked.goal]
    steps = asked.steps or max(1, math.ceil(examples * epochs / batch))
    reasons["steps"] = f"{steps}, because " + (
        "it was asked for"
        if asked.steps
        else f"{epochs:g} epochs over {examples:.0f} examples make {steps} batches of {batch}"
    )
    warmup = asked.warmup if asked.warmup is not None else max(1, round(0.03 * steps))
    reasons["warmup"] = f"{warmup}, because " + ("it was asked for" if asked.warmup is not None else "3 % of the steps")
    save_every = asked.save_every or max(1, math.ceil(steps / 6))
    reasons["save_every"] = f"{save_every}, because " + (
        "it was asked for" if asked.save_every else "a crash then costs at most a sixth of the run"
    )
    validate_every = asked.validate_every or max(1, math.ceil(steps / 8))
    reasons["validate_every"] = f"{validate_every}, because " + (
        "it was asked for" if asked.validate_every else "eight looks show the curve at little cost"
    )
    accumulation = math.ceil(batch / shape.micro_batch)
    reasons["accumulation"] = f"{accumulation}, because {accumulation} × {shape.micro_batch} makes the batch of {batch}"
    return {
        "steps": steps,
        "epochs": round(steps * batch / examples, 3),
        "warmup": min(warmup, steps),
        "save_every": save_every,
        "validate_every": validate_every,
        "accumulation": accumulation,
    }


def _mean_length(question: Question, length: int) -> float:
    mean = (question.dataset.get("tokens") or {}).get("mean")
    return float(mean) if mean else length / 2


def _energy(device: Device, seconds: float) -> float | None:
    """Joules at the board's power limit: an upper bound; None where no limit is known."""
    return round(device.power_limit_watts * seconds, 1) if device.power_limit_watts else None


def _check_disk(machine: Machine, need: int) -> None:
    if machine.disk_free_bytes is not None and machine.disk_free_bytes < need * 1.2:
        raise DoesNotFit(
            f"This job writes {bytes_text(need)} and the disk has {bytes_text(machine.disk_free_bytes)} free.",
            hint="Free some space, or ask for fewer export formats.",
        )


def _alternatives(question: Question, chosen: Method, shape: Shape) -> list[dict[str, Any]]:
    """The other methods at the same shape, and whether they would fit."""
    found = []
    for name in known_methods():
        if name == chosen.name:
            continue
        method = load_method(name)
        rank = int(method.defaults.get("rank", 0))
        other = replace(shape, adapter=method.adapter, rank=rank)
        need = memory.peak_bytes(question.model, other)
        found.append(
            {"method": name, "summary": method.summary, "device_bytes": need, "fits": need <= _budget(question)}
        )
    return found


def _does_not_fit(question: Question, frugal: Shape, budget: int) -> DoesNotFit:
    """The shortfall, and the cheapest changes that would fit, each computed before it is offered."""
    need = memory.peak_bytes(question.model, frugal)
    options: list[tuple[str, dict[str, Any], Shape]] = [
        ("micro_batch 1", {"training.micro_batch": 1}, replace(frugal, micro_batch=1)),
        ("method lora", {"training.method": "lora"}, replace(frugal, adapter="lora", rank=16)),
    ]
    for length in (2048, 1024, 512, 256):
        if length < frugal.sequence_length:
            shorter = replace(frugal, sequence_length=length)
            options.append((f"sequence_length {length}", {"training.sequence_length": length}, shorter))
    fixes = []
    for label, values, shape in options:
        size = memory.peak_bytes(question.model, shape)
        if shape != frugal and size <= budget:
            fixes.append({"label": f"{label} ({bytes_text(size)})", "set": values})
    place, shortfall = question.device.name, bytes_text(need - budget)
    return DoesNotFit(
        f"This job needs {bytes_text(need)} and {place} may give {bytes_text(budget)}: {shortfall} short.",
        hint=f"It would fit with {fixes[0]['label']}." if fixes else "Use a smaller base model or a larger device.",
        fixes=fixes,
    )
