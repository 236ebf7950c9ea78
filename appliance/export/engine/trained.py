"""The trained model as training left it, and the one model it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from appliance.data.chat import ChatTemplate, Tokenizer, copy_tokenizer, end_ids, load_template, load_tokenizer
from appliance.errors import FileNotFound, InvalidBaseModel
from appliance.training.engine.model import load_base


class Trained:
    """A base model with its adapter apart, or a fully tuned model."""

    def __init__(self, path: Path, base: Path | None, device: str | None) -> None:
        """Load in 32-bit floats, so that rounding is the exporters' and not ours. Raises ``InvalidBaseModel``."""
        self.path = path
        self.is_adapter = base is not None
        self.device = _device(device)
        if not path.is_dir():
            raise FileNotFound(f"There is no model folder {path}.", where=str(path))
        self.tokens_folder = path if (path / "tokenizer.json").is_file() or base is None else base
        self.tokenizer: Tokenizer = load_tokenizer(self.tokens_folder)
        self.template: ChatTemplate = load_template(self.tokens_folder)
        self.model: Any = load_base(base or path, "fp32")
        if self.is_adapter:
            self.model = _with_adapter(self.model, path)
        self.model.to(self.device).eval()

    @property
    def context(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2048)

    @property
    def ends(self) -> frozenset[int]:
        """The ids that end an answer: the tokenizer's, the template's, and the generation settings'."""
        listed = getattr(self.model.generation_config, "eos_token_id", None)
        more = listed if isinstance(listed, list) else [listed]
        return end_ids(self.tokenizer, self.template) | {id_ for id_ in more if isinstance(id_, int)}

    @torch.inference_mode()
    def logits(self, ids: tuple[int, ...]) -> torch.Tensor:
        """Logits (length, vocabulary) in 32-bit floats on the CPU."""
        batch = torch.tensor([ids], device=self.device)
        found: torch.Tensor = self.model(input_ids=batch, use_cache=False).logits[0]
        return found.float().cpu()

    @torch.inference_mode()
    def continue_greedily(self, ids: tuple[int, ...], most: int, ends: frozenset[int]) -> tuple[tuple[int, ...], bool]:
        """The likeliest next tokens, up to ``most`` of them, and whether an end came (it is not among them)."""
        cache: Any = None
        answer: list[int] = []
        feed = list(ids)
        for _ in range(most):
            out = self.model(input_ids=torch.tensor([feed], device=self.device), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            token = int(out.logits[0, -1].argmax())
            if token in ends:
                return tuple(answer), True
            answer.append(token)
            feed = [token]
        return tuple(answer), False

    def merge(self, folder: Path) -> None:
        """Fold the adapter into the weights and write a Hugging Face folder with tokenizer and template.

        It is kept in 32 bits where there was an adapter: a small update is lost in the rounding of bf16.
        """
        model = self.model
        if self.is_adapter:
            model = model.merge_and_unload()
        else:
            model.to(_stored_dtype(self.path))
        if self.ends:
            model.generation_config.eos_token_id = sorted(self.ends)
        model.generation_config.do_sample = False
        for name in ("temperature", "top_p", "top_k"):
            setattr(model.generation_config, name, None)
        model.save_pretrained(str(folder), safe_serialization=True)
        copy_tokenizer(self.tokens_folder, folder, self.template.text)


def _with_adapter(model: Any, path: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(path), is_trainable=False)
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise InvalidBaseModel(f"{path} does not hold adapter weights of its base: {error}", where=str(path)) from error


def _stored_dtype(folder: Path) -> torch.dtype:
    config = json.loads((folder / "config.json").read_bytes())
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    found = getattr(torch, str(name), torch.float32)
    return found if isinstance(found, torch.dtype) else torch.float32


def _device(name: str | None) -> torch.device:
    """The device the job was given; the CPU where it has none or the GPU is not there."""
    if name and not name.startswith("cpu") and torch.cuda.is_available():
        return torch.device(name if name.startswith("cuda") else "cuda")
    return torch.device("cpu")
