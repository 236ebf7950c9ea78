"""What the machine's owner decided: flag > environment > ``config.toml`` > default.

A key exists when something reads it. An unknown key is an error that names the nearest known one, because a
misspelt setting that is silently ignored is found out after a night of training.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from appliance.errors import InvalidConfig, nearest

PREFIX = "LUTHIER_"
# Variables that are not settings: where things are, and what tests and people use to steer a process.
_NOT_SETTINGS = {"LUTHIER_HOME", "LUTHIER_DEVICES", "LUTHIER_TEST_DATA", "LUTHIER_PLAIN"}


@dataclass(frozen=True, kw_only=True)
class DaemonSettings:
    """The daemon."""

    log_level: str = "info"
    """debug, info, warning or error."""
    light_jobs: int = 2
    """How many jobs that need no device may run at once."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """The inference endpoint."""

    host: str = "127.0.0.1"
    """Address of the endpoint; anything but loopback is refused until access tokens exist."""
    port: int = 8777
    """Port of the endpoint; when taken, the next free one is used and printed."""
    context: int = 0
    """Tokens of context for each request; 0 takes the model's own."""
    slots: int = 4
    """Requests answered at the same time."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The network."""

    offline: bool = True
    """While true nothing but loopback is contacted, and a hub id is refused as a base model."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training."""

    keep_checkpoints: int = 2
    """How many verified checkpoints a job keeps; at least 2."""
    threads: int = 0
    """CPU threads of a worker; 0 takes every core."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Exports."""

    formats: tuple[str, ...] = ("gguf:f16", "gguf:q8_0")
    """What a tune exports when it is not told."""


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """The dashboard."""

    theme: str = "luthier"
    """Name of a Textual theme."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, frozen."""

    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    ui: UiSettings = field(default_factory=UiSettings)
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value that is not a default came from, by dotted key."""

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Section → key → value."""
        return {
            name: {f.name: getattr(getattr(self, name), f.name) for f in fields(cls)} for name, cls in SECTIONS.items()
        }


SECTIONS: dict[str, type[Any]] = {
    "daemon": DaemonSettings,
    "serve": ServeSettings,
    "network": NetworkSettings,
    "training": TrainingSettings,
    "export": ExportSettings,
    "ui": UiSettings,
}


def load_settings(
    config_file: Path, *, flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings. ``flags`` are ``section.key`` → text. Raises ``InvalidConfig`` with every fault."""
    faults: list[str] = []
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    origins: dict[str, str] = {}
    layers = [
        (_from_file(config_file, faults), str(config_file)),
        (_from_environment(os.environ if environ is None else environ), "environment"),
        (dict(flags or {}), "flag"),
    ]
    for layer, origin in layers:
        for key, raw in layer.items():
            section, _, name = key.partition(".")
            value = _checked(section, name, raw, origin, faults)
            if value is not None:
                values[section][name] = value
                origins[key] = origin
    if faults:
        raise InvalidConfig("; ".join(faults), hint="`luthier config show` lists every key with its value.")
    sections = {name: cls(**values[name]) for name, cls in SECTIONS.items()}
    return Settings(**sections, origins=origins)


def _from_file(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path} cannot be read: {error}")
        return {}
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{path} is not valid TOML: {error}")
        return {}
    flat: dict[str, Any] = {}
    for section, content in data.items():
        if isinstance(content, dict):
            flat.update({f"{section}.{key}": value for key, value in content.items()})
        else:
            flat[section] = content
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """``LUTHIER_SERVE__PORT=9000`` sets ``serve.port``."""
    names = [name for name in environ if name.startswith(PREFIX) and "__" in name and name not in _NOT_SETTINGS]
    return {name.removeprefix(PREFIX).lower().replace("__", ".", 1): environ[name] for name in names}


def _checked(section: str, name: str, raw: Any, origin: str, faults: list[str]) -> Any:
    """The value in the type of its field, or None with a fault noted."""
    known = {f"{s}.{f.name}": f for s, cls in SECTIONS.items() for f in fields(cls)}
    key = f"{section}.{name}" if name else section
    if key not in known:
        guess = nearest(key, known)
        faults.append(f"{origin}: no setting is named '{key}'" + (f"; the nearest is '{guess}'" if guess else ""))
        return None
    default = getattr(SECTIONS[section](), name)
    try:
        return _convert(raw, default)
    except ValueError:
        expected = {bool: "true or false", int: "a whole number", tuple: "a list"}.get(type(default), "text")
        faults.append(f"{origin}: {key} is {raw!r}, expected {expected}")
        return None


def _convert(raw: Any, default: Any) -> Any:
    if isinstance(default, bool):
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str) and raw.lower() in words:
            return words[raw.lower()]
        raise ValueError(raw)
    if isinstance(default, int):
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError(raw)
        return int(raw)
    if isinstance(default, tuple):
        if isinstance(raw, str):
            return tuple(part.strip() for part in raw.split(",") if part.strip())
        if isinstance(raw, list) and all(isinstance(part, str) for part in raw):
            return tuple(raw)
        raise ValueError(raw)
    if not isinstance(raw, str):
        raise ValueError(raw)
    return raw
