"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685), as ``peft`` implements it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Lora:
    """y = W x + (alpha / rank) B A x beside every linear layer but the head; B starts at zero."""

    kind: ClassVar[Literal["adapter", "full"]] = "adapter"
    trains_base: ClassVar[bool] = False

    rank: int = 16
    """Width of A and B."""
    alpha: int = 32
    """Scale of the update; alpha / rank multiplies it."""
    dropout: float = 0.0
    """Share of the inputs of A that is zeroed while training."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model inside peft's wrapper, its own weights frozen; A and B are held in fp32."""
        from peft import LoraConfig, get_peft_model
        from torch import bfloat16

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules="all-linear",
            bias="none",
            task_type="CAUSAL_LM",
        )
        wrapped: Any = get_peft_model(model, config)
        if next(model.parameters()).dtype is bfloat16:
            _keep_inputs(wrapped)
        return wrapped  # type: ignore[no-any-return]

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write peft's two files, which plain ``peft`` loads too."""
        # The embeddings are never trained here; asking peft to find that out makes it look at the hub.
        wrapped: Any = model
        wrapped.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        path = folder / "adapter_config.json"
        config = json.loads(path.read_bytes())
        config["target_modules"].sort()  # a set in peft: its order would differ from process to process
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _keep_inputs(wrapped: nn.Module) -> None:
    """Let autocast choose the precision of a low-rank product.

    Left to itself peft first copies the inputs to fp32, the precision of A, and autocast then copies them back.
    """
    module: Any
    for module in wrapped.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
