"""Profiles against transformers and peft themselves, on a tiny random model of each family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiles.model import read_model

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"vocab_size": 100, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("llama", "LlamaForCausalLM", {}, "llama"),
    ("llama", "tied", {"tie_word_embeddings": True, "head_dim": 16, "attention_bias": True, "mlp_bias": True}, "llama"),
    ("mistral", "sliding", {"sliding_window": 16, "head_dim": 8}, "mistral"),
    ("qwen2", "biased", {}, "qwen2"),
    ("qwen3", "normed", {"head_dim": 8}, "qwen3"),
    ("gemma2", "four norms", {"head_dim": 8}, "gemma2"),
    ("gemma3_text", "four norms and two", {"head_dim": 8}, "gemma3"),
    ("phi3", "fused", {}, "phi3"),
    ("smollm3", "some layers without positions", {}, "smollm3"),
    ("gpt2", "stored the other way round", {}, "gpt2"),
    ("mixtral", "experts", {"num_local_experts": 4, "num_experts_per_tok": 2}, "mixtral"),
    ("qwen3_moe", "smaller experts", MOE | {"decoder_sparse_step": 1, "head_dim": 8}, "qwen3_moe"),
    ("olmo2", "no family of ours", {}, "generic"),
]


def build(model_type: str, changes: dict[str, Any], folder: Path) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(model_type, **(GPT2 if model_type == "gpt2" else SIZES | changes))
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(str(folder))
    return model


@pytest.mark.parametrize(("model_type", "label", "changes", "family"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_profile_counts_what_transformers_builds_and_what_peft_adds(
    model_type: str, label: str, changes: dict[str, Any], family: str, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    model = build(model_type, changes, tmp_path)
    profile = read_model(tmp_path)
    assert profile.parameters == sum(weight.numel() for weight in model.parameters())
    assert profile.parameters == sum(profile.kinds.values())
    assert "other" not in profile.kinds
    assert profile.family == family
    assert profile.tied_embeddings == (
        model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    )
    assert profile.tested == (family not in ("generic", "mixtral", "qwen3_moe"))
    wrapped: Any = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    added = sum(weight.numel() for weight in wrapped.parameters() if weight.requires_grad)
    assert 4 * profile.lora_width == added


def test_only_some_of_a_mixture_is_active(tmp_path: Path) -> None:
    model = build("qwen3_moe", MOE | {"decoder_sparse_step": 2, "head_dim": 8}, tmp_path)
    experts = sum(weight.numel() for name, weight in model.named_parameters() if ".experts." in name)
    profile = read_model(tmp_path)
    assert profile.family == "qwen3_moe"
    assert profile.active_parameters == profile.parameters - experts // 2
