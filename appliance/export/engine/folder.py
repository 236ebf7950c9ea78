"""``safetensors``: the merged Hugging Face folder itself."""

from __future__ import annotations

from pathlib import Path

from appliance import durable
from appliance.export.formats import Order


def export(order: Order) -> dict[str, Path]:
    """The folder as it was committed, checked against its manifest. Raises ``CorruptFolder``."""
    durable.verify_folder(order.merged)
    return {format_.name: order.merged for format_ in order.formats}
