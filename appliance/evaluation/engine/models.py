"""Both models of a comparison, one after the other and never twice in memory.

Adapter weights lie on their base: the base is what is left when they are switched off, so it is loaded once. A fully
tuned model and its base are loaded one after the other.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from appliance.errors import FileNotFound, InvalidBaseModel

LARGE = 8_000_000_000
"""Bytes of stored weights above which a model is not widened to float32."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A tuned model as the train job describes it."""

    path: Path
    kind: str
    """``adapter``, or anything else for a folder with all weights."""
    base: Path | None
    """None when there is nothing to compare it with."""
    device: torch.device

    @property
    def is_adapter(self) -> bool:
        return self.kind == "adapter"

    def tokens_folder(self) -> Path:
        """Where its tokenizer and chat template are: with it, or else with its base."""
        if (self.path / "tokenizer.json").is_file() or self.base is None:
            return self.path
        return self.base


def tuned_model(model: Mapping[str, Any], device: str | None) -> Tuned:
    """Read a job's ``inputs.model``. Raises ``FileNotFound``, ``InvalidBaseModel``."""
    path, base = Path(model["path"]), Path(model["base"]) if model.get("base") else None
    for folder in (path, base):
        if folder is not None and not folder.is_dir():
            raise FileNotFound(f"There is no model folder {folder}.", where=str(folder))
    tuned = Tuned(path=path, kind=str(model.get("kind") or "full"), base=base, device=_device(device))
    if tuned.is_adapter and base is None:
        raise InvalidBaseModel(f"{path} holds adapter weights, and the base they belong to is not named.")
    return tuned


def on_both(model: Tuned, measure: Callable[[PreTrainedModel], T], phase: Callable[[str], None]) -> tuple[T | None, T]:
    """What ``measure`` finds on the base (None without one) and on the tuned model."""
    if model.is_adapter:
        return _on_adapter(model, measure, phase)
    found = None
    if model.base is not None:
        phase("loading the base model")
        network = load(model.base, model.device)
        phase("asking the base model")
        found = measure(network)
        del network
        gc.collect()
    phase("loading the tuned model")
    network = load(model.path, model.device)
    phase("asking the tuned model")
    return found, measure(network)


def _on_adapter(model: Tuned, measure: Callable[[PreTrainedModel], T], phase: Callable[[str], None]) -> tuple[T, T]:
    assert model.base is not None
    phase("loading the base model and the adapter weights")
    # Imported here, because it takes seconds and full models do without it.
    from peft import PeftModel

    network: Any = PeftModel.from_pretrained(load(model.base, model.device), str(model.path), is_trainable=False)
    network.eval()
    phase("asking the base model")
    with network.disable_adapter():
        base = measure(network)
    phase("asking the tuned model")
    return base, measure(network)


def load(folder: Path, device: torch.device) -> PreTrainedModel:
    """A model folder, ready to be asked. Raises ``InvalidBaseModel``.

    On the CPU in float32, where an answer does not depend on what else is in its batch.
    """
    try:
        network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=_dtype(folder, device), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidBaseModel(f"{folder} cannot be loaded as a model: {first}", where=str(folder)) from error
    network.to(device)  # type: ignore[arg-type]
    network.eval()  # type: ignore[no-untyped-call]
    return network


def _dtype(folder: Path, device: torch.device) -> torch.dtype | str:
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return "auto" if device.type != "cpu" or stored > LARGE else torch.float32


def _device(name: str | None) -> torch.device:
    """The device a job was given; the CPU where it has none or the GPU is not there."""
    if name and not name.startswith("cpu") and torch.cuda.is_available():
        return torch.device(name if name.startswith("cuda") else "cuda")
    return torch.device("cpu")
