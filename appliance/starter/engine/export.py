"""The finished starter as a Hugging Face folder: bf16 weights, tokeniser, template, generation settings."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaForCausalLM

from .vocabulary import BOS, END, PAD, save_tokenizer, token_id


def save_folder(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write ``model`` and ``tokenizer`` to ``folder``, which stays usable by AutoModelForCausalLM without a network."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = LlamaForCausalLM(model.config)
    stored.load_state_dict(model.state_dict())
    stored.bfloat16()
    stored.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
        max_new_tokens=128,
        do_sample=False,
    )
    stored.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
