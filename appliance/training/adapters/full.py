"""Full fine-tuning: every weight changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Full:
    """The base model itself, held in fp32 while it is trained whatever the precision of the arithmetic."""

    kind: ClassVar[Literal["adapter", "full"]] = "full"
    trains_base: ClassVar[bool] = True

    base_precision: Literal["fp32", "bf16"] = "fp32"
    """How the trained weights are stored: as the arithmetic saw them."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The same model with every weight requiring a gradient."""
        return model.requires_grad_(True)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a folder in the Hugging Face layout; ``model`` is left in the stored precision."""
        import torch

        stored: Any = model.to({"fp32": torch.float32, "bf16": torch.bfloat16}[self.base_precision])
        stored.save_pretrained(str(folder))
