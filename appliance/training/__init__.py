"""Training: one readable loop with two seams.

The adapter decides which weights change, the objective what is minimised. Both tables are lazy; ``engine/`` is the
only folder here that imports torch when it is imported.
"""

from __future__ import annotations

from appliance.registry import Entry, Registry

ADAPTERS = Registry(
    "adapter",
    {
        "lora": Entry(
            "appliance.training.adapters.lora:Lora",
            "Low-rank updates beside every linear layer; the base model stays as it is",
            ("torch", "peft"),
        ),
        "full": Entry(
            "appliance.training.adapters.full:Full",
            "Every weight of the model changes",
            ("torch", "transformers"),
        ),
    },
)

OBJECTIVES = Registry(
    "objective",
    {
        "sft": Entry(
            "appliance.training.objectives.sft:Sft",
            "Next-token loss over the answers, or over all of a plain text",
            ("torch",),
        ),
    },
)
