"""What was asked, frozen. ``parse`` turns a recipe or a request into a spec and names every fault at once.

A key exists when something reads it. Values that the plan may choose are ``None`` until asked for. Names of
methods, formats and exporters are validated where they live, not here.
"""

from __future__ import annotations

import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from appliance.errors import FileNotFound, InvalidSpec, nearest

Goal = Literal["fast", "balanced", "best"]
OverLength = Literal["stop", "drop", "split", "truncate"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where the examples come from and what becomes of them."""

    path: str | None = None
    """A dataset file."""
    dataset: str | None = None
    """The id or name of a dataset taken in before."""
    format: str = "auto"
    """How the file is laid out; ``auto`` infers it."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Field of ours → column of the file, where the names cannot be inferred."""
    over_length: OverLength = "drop"
    """What happens to an example longer than the sequence length."""
    validation: float = 0.05
    """Share of the examples held out to watch the loss while training."""
    test: float = 0.1
    """Share held out to prove the result."""
    replay: str | None = None
    """A file of examples of what the base model can already do, mixed in so that it is not forgotten."""
    replay_share: float = 0.0
    """Share of the training examples drawn from ``replay``."""
    seed: int = 0
    """Seed of the split and of the mixing."""


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """The model one starts from."""

    model: str | None = None
    """A folder in the Hugging Face layout, a hub id, ``starter``, or the name of a model here."""
    precision: Literal["auto", "fp32", "bf16", "int8", "nf4"] = "auto"
    """How frozen weights are held."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """How to train; what is None is planned."""

    method: str = "auto"
    """A method recipe: ``lora``, ``full``, …"""
    goal: Goal = "balanced"
    """What to spend: time or quality."""
    rank: int | None = None
    """Width of a low-rank update."""
    alpha: int | None = None
    """Scale of a low-rank update; alpha / rank multiplies it."""
    dropout: float | None = None
    """Dropout inside a low-rank update."""
    learning_rate: float | None = None
    steps: int | None = None
    """Optimizer steps; set, it wins over epochs."""
    epochs: float | None = None
    batch: int | None = None
    """Examples in one optimizer step, over all devices."""
    micro_batch: int | None = None
    """Examples in one forward pass on one device."""
    sequence_length: int | None = None
    """Longest example, in tokens."""
    warmup: int | None = None
    """Steps over which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant"] | None = None
    weight_decay: float | None = None
    clip: float | None = None
    """Largest norm of the gradient."""
    seed: int = 0
    save_every: int | None = None
    """Steps between checkpoints."""
    validate_every: int | None = None
    """Steps between looks at the validation loss."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """How the result is proven."""

    retention: str | None = None
    """A file of exercises for what the base model can do: lines of skill, messages, expected."""
    max_new_tokens: int = 64
    """Longest answer generated for one exercise."""
    limit: int = 200
    """Most held-out examples that are generated for; fewer are taken by a fixed rule."""


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """What is made for use."""

    formats: tuple[str, ...] | None = None
    """Names such as ``gguf:q8_0``; None takes the setting ``export.formats``."""


@dataclass(frozen=True, kw_only=True)
class ServeSpec:
    """What happens at the endpoint afterwards."""

    enabled: bool = True
    alias: str | None = None
    """The name clients use; None takes the name of the tune."""
    question: str | None = None
    """Asked once over the endpoint when it is ready."""


@dataclass(frozen=True, kw_only=True)
class TuneSpec:
    """One tune, from file to endpoint."""

    name: str | None = None
    data: DataSpec = field(default_factory=DataSpec)
    base: BaseSpec = field(default_factory=BaseSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    export: ExportSpec = field(default_factory=ExportSpec)
    serve: ServeSpec = field(default_factory=ServeSpec)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# Inclusive bounds, by dotted key. Everything numeric that a person can mistype has some.
BOUNDS: dict[str, tuple[float, float]] = {
    "data.validation": (0.0, 0.5),
    "data.test": (0.0, 0.5),
    "data.replay_share": (0.0, 0.95),
    "training.rank": (1, 1024),
    "training.alpha": (1, 4096),
    "training.dropout": (0.0, 0.9),
    "training.learning_rate": (1e-8, 1.0),
    "training.steps": (1, 10_000_000),
    "training.epochs": (0.01, 10_000),
    "training.batch": (1, 65_536),
    "training.micro_batch": (1, 4096),
    "training.sequence_length": (8, 1_048_576),
    "training.warmup": (0, 1_000_000),
    "training.weight_decay": (0.0, 10.0),
    "training.clip": (1e-6, 1e6),
    "training.save_every": (1, 10_000_000),
    "training.validate_every": (1, 10_000_000),
    "evaluation.max_new_tokens": (1, 65_536),
    "evaluation.limit": (1, 1_000_000),
}
PATH_KEYS = ("data.path", "data.replay", "evaluation.retention", "base.model")


def parse(data: Mapping[str, Any], *, origin: str = "spec") -> TuneSpec:
    """Check a nested mapping and freeze it. Raises ``InvalidSpec`` naming every fault, not only the first."""
    faults: list[str] = []
    spec: TuneSpec = _section(TuneSpec, data, "", faults)
    if faults:
        listed = "\n  ".join(faults)
        raise InvalidSpec(f"{origin} has {len(faults)} fault(s):\n  {listed}", where=origin)
    return spec


def load_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe; relative paths in it come back absolute. Raises ``FileNotFound``, ``InvalidSpec``."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFound(f"There is no recipe file {path}.", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path} is not valid TOML: {error}", where=str(path)) from error
    for key in PATH_KEYS:
        section, _, name = key.partition(".")
        content = data.get(section)
        if not isinstance(content, dict):
            continue
        value = content.get(name)
        if isinstance(value, str) and (key != "base.model" or value.startswith((".", "~"))):
            content[name] = str((path.parent / Path(value).expanduser()).resolve())
    return data


def with_values(data: Mapping[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested ``data`` with dotted keys set: ``{"training.rank": 8}``."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in data.items()}
    for dotted, value in assignments.items():
        section, _, name = dotted.rpartition(".")
        if section:
            result.setdefault(section, {})[name] = value
        else:
            result[name] = value
    return result


def known_keys() -> tuple[str, ...]:
    """Every dotted key a recipe may have."""
    keys = [f.name for f in fields(TuneSpec) if f.name not in _SECTIONS]
    for name, cls in _SECTIONS.items():
        keys += [f"{name}.{f.name}" for f in fields(cls)]
    return tuple(keys)


def renamed(spec: TuneSpec, name: str) -> TuneSpec:
    """The same spec under another name."""
    return replace(spec, name=name)


_SECTIONS: dict[str, type[Any]] = {
    "data": DataSpec,
    "base": BaseSpec,
    "training": TrainingSpec,
    "evaluation": EvaluationSpec,
    "export": ExportSpec,
    "serve": ServeSpec,
}


def _section(cls: type[Any], data: Any, prefix: str, faults: list[str]) -> Any:
    if not isinstance(data, Mapping):
        faults.append(f"{prefix.rstrip('.')}: expected a table, got {data!r}")
        return cls()
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, raw in data.items():
        dotted = f"{prefix}{key}"
        if key not in hints:
            candidates = known_keys() if key not in _SECTIONS else ()
            guess = nearest(dotted, candidates) or nearest(str(key), hints)
            faults.append(f"{dotted}: no such key" + (f"; the nearest is '{guess}'" if guess else ""))
        elif not prefix and key in _SECTIONS:
            values[key] = _section(_SECTIONS[key], raw, f"{key}.", faults)
        else:
            values[key] = _value(hints[key], raw, dotted, faults)
    return cls(**values)


def _value(hint: Any, raw: Any, dotted: str, faults: list[str]) -> Any:
    """``raw`` in the type of ``hint``; a wrong one is noted and comes back as it was."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if raw is None and type(None) in options:
        return None
    for option in options:
        matched, value = _match(option, raw)
        if matched:
            return _bounded(value, dotted, faults)
    faults.append(f"{dotted}: got {raw!r}, expected {_expected(options)}")
    return raw


def _match(option: Any, raw: Any) -> tuple[bool, Any]:
    origin = get_origin(option)
    if origin is Literal:
        return raw in get_args(option), raw
    if origin is tuple:
        good = isinstance(raw, list | tuple) and all(isinstance(part, str) for part in raw)
        return good, tuple(raw) if good else raw
    if origin is not None and issubclass(origin, Mapping):
        good = isinstance(raw, Mapping) and all(isinstance(part, str) for pair in raw.items() for part in pair)
        return good, dict(raw) if good else raw
    if option is float:
        good = isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw)
        return good, float(raw) if good else raw
    if option is int:
        return isinstance(raw, int) and not isinstance(raw, bool), raw
    return option is not type(None) and isinstance(raw, option), raw


def _bounded(value: Any, dotted: str, faults: list[str]) -> Any:
    low, high = BOUNDS.get(dotted, (-math.inf, math.inf))
    if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        faults.append(f"{dotted}: got {value:g}, expected {low:g} to {high:g}")
    return value


def _expected(options: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    parts = []
    for option in options:
        if get_origin(option) is Literal:
            parts.append("one of " + ", ".join(map(str, get_args(option))))
        elif get_origin(option) is tuple:
            parts.append("a list of texts")
        elif option is not type(None):
            parts.append(words.get(option, "a table of texts"))
    return " or ".join(parts)
