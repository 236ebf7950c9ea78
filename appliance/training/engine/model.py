"""The base model: loaded without a network or foreign code, and seen by the loop as a ``Network``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from appliance.errors import InvalidBaseModel
from appliance.training.base import check_base
from appliance.training.plan import Precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_base(folder: Path, precision: Precision) -> nn.Module:
    """The causal language model of a folder, every weight of it found there. Raises ``InvalidBaseModel``."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    check_base(folder)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=DTYPES[precision],
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (ValueError, OSError, KeyError, RuntimeError, TypeError) as error:
        raise InvalidBaseModel(f"{folder} cannot be loaded: {error}", where=str(folder)) from error
    model: nn.Module
    model, info = loaded
    faults = [
        f"{len(names)} {what} ({', '.join(sorted(map(str, names))[:3])}…)"
        for what, names in (
            ("weights are missing", info["missing_keys"]),
            ("weights belong to no part of the model", info["unexpected_keys"]),
            ("weights have another shape than the configuration says", info["mismatched_keys"]),
        )
        if names
    ]
    if faults:
        raise InvalidBaseModel(
            f"The weights in {folder} are not those of its config.json: {'; '.join(faults)}.",
            hint="Take the folder from its source again; a model with guessed weights learns nothing useful.",
            where=str(folder),
        )
    return model


class Network(nn.Module):
    """A causal language model as the loop uses it: token ids in, logits at chosen positions out.

    The head, often the widest matrix of all, is applied to the learnt positions only. Where a model does more
    than that between its last hidden state and its logits (scaling, capping), the whole model is asked instead;
    ``choose_head`` finds out by comparing.
    """

    def __init__(self, model: nn.Module, precision: Precision = "fp32") -> None:
        super().__init__()
        self.model = model
        self.precision = precision
        unwrap: Any = getattr(model, "get_base_model", lambda: model)
        plain = unwrap()
        # In a tuple, so that torch does not count these weights a second time.
        self._parts: tuple[Any, Any] = (plain.base_model, plain.get_output_embeddings())
        self.direct = False

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits (learnt, vocabulary) at ``positions`` of the flattened ``ids`` (rows, length)."""
        with torch.autocast(ids.device.type, DTYPES[self.precision], enabled=self.precision != "fp32"):
            return self._logits(ids, positions)

    def _logits(self, ids: Tensor, positions: Tensor) -> Tensor:
        if not self.direct:
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
            return logits.flatten(0, 1).index_select(0, positions)
        decoder, head = self._parts
        hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state
        return head(hidden.flatten(0, 1).index_select(0, positions))  # type: ignore[no-any-return]

    @torch.no_grad()
    def choose_head(self, ids: Tensor) -> None:
        """Take the direct way if it gives the same logits as the whole model on ``ids`` (rows, length)."""
        if self._parts[1] is None:
            return
        training = self.training
        self.eval()
        positions = torch.arange(ids.numel(), device=ids.device)
        self.direct = False
        expected = self(ids, positions)
        self.direct = True
        found = self(ids, positions)
        self.direct = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
        self.train(training)
