"""Decide what this machine will do about a spec, and give the reason of every value.

What was asked is taken as asked or refused; only what was left open is chosen. Nothing is guessed silently:
``plan["reasons"]`` has a sentence for every value, ``plan["alternatives"]`` what else would fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from appliance.spec import TrainingSpec
from profiles import memory
from profiles.activations import Shape
from profiles.devices import Device
from profiles.fitting import Question, Task, alternatives, check_disk, check_host, choose_shape, training_time
from profiles.methods import Method, check_method, load_method
from profiles.model import ModelProfile

_DEFAULT_LENGTH = 2048
# What the setting export.formats says where nothing else was asked.
_FORMATS = ("gguf:f16", "gguf:q8_0")


def make_plan(question: Question) -> dict[str, Any]:
    """``luthier.plan/1`` with every value and its reason. Raises ``DoesNotFit`` and ``UnknownName``."""
    method, method_reason = _method(question.spec.training)
    reasons = {"method": method_reason}
    hyper = _hyperparameters(question, method, reasons)
    length = _sequence_length(question, reasons)
    task = Task(
        question=question,
        method=method,
        batch=hyper["batch"],
        rank=hyper["rank"] or 0,
        dropout=hyper["dropout"] or 0.0,
        length=length,
    )
    fit = choose_shape(task)
    shape = fit.shape
    reasons |= fit.reasons
    reasons["devices"] = f"{question.device.torch_name}, because {_device_reason(question.device)}"
    reasons["family"] = _family_reason(question.model)
    plan = hyper | _schedule(question, hyper, shape, reasons)
    parts = memory.memory_parts(question.model, shape)
    formats = question.spec.export.formats or _FORMATS
    disk = memory.disk_parts(
        question.model, method.adapter, shape.rank, keep=question.keep_checkpoints, formats=formats
    )
    check_host(question.machine, question.device, question.model, shape)
    check_disk(question.machine, sum(disk.values()))
    steps = plan["steps"]
    seconds = training_time(task, shape, steps)
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
        "family": question.model.family,
        "memory": memory.as_plan_memory(parts, on_cpu=shape.on_cpu, disk=disk),
        "seconds": seconds,
        "energy_joules": _energy(question.device, seconds["expected"]),
        "cost": None,
        "reasons": reasons,
        "alternatives": alternatives(task, steps),
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
    names = ["batch", "weight_decay", "clip", "schedule"] + (["dropout"] if method.adapter == "lora" else [])
    chosen: dict[str, tuple[Any, str]] = {name: (defaults[name], method.reasons[name]) for name in names}
    chosen["learning_rate"] = (learning_rate, why)
    if method.adapter == "lora":
        chosen["rank"] = (rank, method.reasons["rank"])
        chosen["alpha"] = (rank * defaults["alpha_per_rank"], "it is twice the rank")
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


def _family_reason(model: ModelProfile) -> str:
    if model.tested:
        return f"{model.family}, because config.json and the tensors say so; its memory was measured"
    if model.family == "generic":
        return "generic, because it is no family whose memory was measured: untested, with a larger margin"
    return f"{model.family}, because config.json and the tensors say so; untested, with a larger margin"


def _device_reason(device: Device) -> str:
    if device.kind == "cpu":
        return "this machine has no GPU that torch can use"
    if device.backend == "fake":
        return f"{device.name} is simulated, and the processor computes for it"
    return f"{device.name} has the most free memory"


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
    passes, share = round(steps * batch / examples, 3), question.spec.data.replay_share
    reasons["epochs"] = f"{passes:g}, because {steps} × {batch} rows are so many times the {examples:.0f} examples"
    reasons["replay_share"] = f"{share:g}, because " + (
        "so much of what the base model could do is repeated to it" if share else "no rows to repeat were asked for"
    )
    return {
        "steps": steps,
        "epochs": passes,
        "warmup": min(warmup, steps),
        "save_every": save_every,
        "validate_every": validate_every,
        "accumulation": accumulation,
    }


def _energy(device: Device, seconds: float) -> float | None:
    """Joules at the board's power limit: an upper bound; None where no limit is known."""
    return round(device.power_limit_watts * seconds, 1) if device.power_limit_watts else None
