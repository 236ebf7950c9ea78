"""Which shape of a training job fits a machine, which of those is the fastest, and what would fit when none does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import DoesNotFit
from appliance.spec import TuneSpec
from appliance.text import bytes_text
from profiles import memory, throughput
from profiles.activations import Shape
from profiles.devices import Device, Machine
from profiles.methods import Method, known_methods, load_method
from profiles.model import ModelProfile, catalogue_model, catalogue_names

# Share of the free memory a plan may use; the parts have a margin of their own.
_USABLE = 0.95
_MICRO_MAX = 32
_LORA_RANK = 16


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


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be trained, where only the shape is still open."""

    question: Question
    method: Method
    batch: int
    rank: int
    dropout: float
    length: int

    @property
    def first(self) -> Shape:
        """The plainest shape: nothing recomputed, one example at a time, in the first precision that may be used."""
        return Shape(
            adapter=self.method.adapter,
            precision=self.precisions[0][0],
            micro_batch=1,
            sequence_length=self.length,
            checkpointing=False,
            rank=self.rank,
            dropout=self.dropout,
            on_cpu=self.question.device.kind == "cpu",
        )

    @property
    def precisions(self) -> list[tuple[str, str]]:
        """What the base may be held in, the preferred first, each with its reason. Raises ``DoesNotFit``."""
        device, asked = self.question.device, self.question.spec.base.precision
        if asked in memory.PRECISION_BYTES:
            return [(asked, "it was asked for")]
        if asked != "auto":
            known = ", ".join(memory.PRECISION_BYTES)
            raise DoesNotFit(
                f"The trainer cannot hold a base model in {asked}: it has {known}.",
                hint=f"Use one of {known}, or auto.",
            )
        if device.kind == "cpu":
            faster = ", though this processor computes bf16 about 1.2 times as fast" if device.bf16 else ""
            exact = ("fp32", f"on a CPU it resumes bit for bit, and small models lose nothing by it{faster}")
            small = ("bf16", "fp32 would not fit in the host's memory")
            return [exact] if self.method.adapter == "full" else [exact, small]
        if (device.capability or (0, 0)) >= (8, 0):
            return [("bf16", f"{device.name} computes bf16")]
        return [("fp32", f"{device.name} has no bf16")]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The shape chosen, and why."""

    shape: Shape
    reasons: dict[str, str]


def choose_shape(task: Task) -> Fit:
    """The fastest shape that fits. Raises ``DoesNotFit`` with the shortfall and changes that would fit.

    Whatever fits a smaller memory fits a larger one, so more memory never makes a plan slower.
    """
    model, room = task.question.model, budget(task.question)
    for precision, why in task.precisions:
        fitting = [shape for shape in _shapes(task, precision) if memory.peak_bytes(model, shape) <= room]
        if fitting:
            shape = min(fitting, key=lambda shape: (training_time(task, shape, 100)["expected"], shape.micro_batch))
            need = bytes_text(memory.peak_bytes(model, shape))
            reasons = {
                "base_precision": f"{precision}, because {why}",
                "micro_batch": f"{shape.micro_batch}, because "
                + ("it was asked for" if task.question.spec.training.micro_batch else "it is the fastest that fits")
                + f": it needs {need} of the {bytes_text(room)} that may be used",
                "checkpointing": "on, because activations would not fit, or be slower, without recomputing them"
                if shape.checkpointing
                else "off, because activations fit without recomputing them",
            }
            return Fit(shape=shape, reasons=reasons)
    raise _does_not_fit(task, room)


def _shapes(task: Task, precision: str) -> Iterator[Shape]:
    """Candidates; a micro-batch divides the batch."""
    asked = task.question.spec.training.micro_batch
    first = replace(task.first, precision=precision)
    sizes = range(1, min(task.batch, _MICRO_MAX) + 1)
    for checkpointing in (False, True):
        for size in [asked] if asked else [size for size in sizes if task.batch % size == 0]:
            yield replace(first, micro_batch=size, checkpointing=checkpointing)


def budget(question: Question) -> int:
    """Bytes of the device that a plan may use."""
    device = question.device
    free = device.memory_free_bytes or 0
    if device.kind == "cpu":
        free -= memory.HOST_RUNTIME_BYTES
    return int(max(0, free) * _USABLE)


def training_time(task: Task, shape: Shape, steps: int) -> dict[str, float]:
    """Low, expected and high seconds of that many steps in this shape."""
    mean = (task.question.dataset.get("tokens") or {}).get("mean")
    tokens = steps * task.batch * (float(mean) if mean else shape.sequence_length / 2)
    each = throughput.flops_per_token(task.question.model, shape.adapter, checkpointing=shape.checkpointing)
    passes = steps * -(-task.batch // shape.micro_batch)
    return throughput.training_seconds(
        task.question.device, flops=tokens * each, precision=shape.precision, steps=steps, micro_steps=passes
    )


def check_disk(machine: Machine, need: int) -> None:
    """Raise ``DoesNotFit`` where a job would fill the disk."""
    if machine.disk_free_bytes is not None and machine.disk_free_bytes < need * 1.2:
        raise DoesNotFit(
            f"This job writes {bytes_text(need)} and the disk has {bytes_text(machine.disk_free_bytes)} free.",
            hint="Free some space, or ask for fewer export formats.",
        )


def check_host(machine: Machine, device: Device, model: ModelProfile, shape: Shape) -> None:
    """Raise ``DoesNotFit`` where the weights cannot pass through the host's memory on their way to a GPU."""
    if device.kind == "cpu":
        return
    need = memory.HOST_RUNTIME_BYTES + memory.memory_parts(model, shape)["weights"]
    if need > machine.host_free_bytes:
        raise DoesNotFit(
            f"Loading the base model takes {bytes_text(need)} of host memory and "
            f"{bytes_text(machine.host_free_bytes)} are free, though {device.name} could train it.",
            hint="Free host memory, or use a smaller base model.",
        )


def alternatives(task: Task, steps: int) -> list[dict[str, Any]]:
    """The other methods in their own best shape: whether they fit, what they need and how long they take."""
    found = []
    for name in known_methods():
        if name != task.method.name:
            other = _with_method(task, load_method(name))
            least = memory.peak_bytes(task.question.model, replace(other.first, checkpointing=True))
            entry: dict[str, Any] = {"method": name, "summary": other.method.summary, "fits": False}
            try:
                shape = choose_shape(other).shape
            except DoesNotFit:
                found.append(entry | {"device_bytes": least, "seconds": None})
                continue
            size = memory.peak_bytes(task.question.model, shape)
            expected = training_time(other, shape, steps)["expected"]
            found.append(entry | {"fits": True, "device_bytes": size, "seconds": expected})
    return found


def _with_method(task: Task, method: Method) -> Task:
    rank = (task.rank or int(method.defaults.get("rank", _LORA_RANK))) if method.adapter == "lora" else 0
    return replace(task, method=method, rank=rank)


def _does_not_fit(task: Task, room: int) -> DoesNotFit:
    """The shortfall of the most frugal shape, and the cheapest changes that would fit, each computed first."""
    precision = task.precisions[-1][0]
    asked = task.question.spec.training.micro_batch or 1
    frugal = replace(task.first, precision=precision, checkpointing=True, micro_batch=asked)
    need = memory.peak_bytes(task.question.model, frugal)
    fixes: list[dict[str, Any]] = []
    for label, values, shape in _changes(task, frugal):
        size = memory.peak_bytes(task.question.model, shape)
        if size <= room and not any(_within(fix["set"], values) for fix in fixes):
            fixes.append({"label": f"{label} ({bytes_text(size)})", "set": values})
    place, shortfall = task.question.device.name, bytes_text(need - room)
    ways = ", or with ".join(fix["label"] for fix in fixes[:3])
    return DoesNotFit(
        f"This job needs {bytes_text(need)} and {place} may give {bytes_text(room)}: {shortfall} short.",
        hint=f"It would fit with {ways}." if fixes else _smaller(task, frugal, room),
        fixes=fixes,
    )


def _changes(task: Task, frugal: Shape) -> Iterator[tuple[str, dict[str, Any], Shape]]:
    """Changes from the cheapest to the dearest: what is learnt stays, then less is learnt at once, then both."""
    lora = replace(frugal, adapter="lora", rank=_LORA_RANK)
    method: dict[str, Any] = {"training.method": "lora"}
    single: dict[str, Any] = {"training.micro_batch": 1}
    halves = [length for length in (4096, 2048, 1024, 512, 256, 128) if length < frugal.sequence_length]
    if frugal.micro_batch > 1:
        yield "micro_batch 1", single, replace(frugal, micro_batch=1)
    if frugal.adapter == "full":
        yield "method lora", method, replace(lora, micro_batch=1)
    if frugal.precision == "fp32" and frugal.adapter == "lora" and task.question.device.kind == "cpu":
        yield "base precision bf16", {"base.precision": "bf16"}, replace(frugal, precision="bf16")
    for length in halves:
        short = {"training.sequence_length": length}
        yield f"sequence_length {length}", short, replace(frugal, sequence_length=length)
        if frugal.adapter == "full":
            both = replace(lora, sequence_length=length, micro_batch=1)
            yield f"method lora and sequence_length {length}", method | short, both


def _smaller(task: Task, frugal: Shape, room: int) -> str:
    """The largest shape of the catalogue that would fit instead, of the same family if there is one."""
    model = task.question.model
    shapes = [catalogue_model(name) for name in catalogue_names()]
    fitting = [other for other in shapes if other.tested and memory.peak_bytes(other, frugal) <= room]
    smaller = [other for other in fitting if other.parameters < model.parameters]
    if not smaller:
        return "Use a larger device."
    best = max(smaller, key=lambda other: (other.family == model.family, other.parameters))
    return f"Use a larger device or a smaller base model; {best.folder.partition(':')[2]} would fit."


def _within(less: Mapping[str, Any], more: Mapping[str, Any]) -> bool:
    """Whether what is offered already changes nothing that the other leaves as it is."""
    return set(less) <= set(more)
