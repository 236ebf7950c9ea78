"""The bundled starter, loaded the way anybody would load it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from appliance.starter import corpus
from appliance.starter.engine.batches import encode_row, raw_rows

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "appliance" / "starter" / "model"
ITEMS = [json.loads(line) for line in (FOLDER.parent / "skills.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


def answer(model: Any, tokenizer: Any, question: str) -> str:
    turns = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    out = model.generate(**inputs, max_new_tokens=80, do_sample=False)
    assert out[0, -1] == tokenizer.eos_token_id or out.shape[1] - inputs.input_ids.shape[1] == 80
    return tokenizer.decode(out[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)


def test_it_loads_offline_without_a_warning() -> None:
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"AutoTokenizer.from_pretrained({str(FOLDER)!r}); AutoModelForCausalLM.from_pretrained({str(FOLDER)!r})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    noise = [
        line
        for line in ran.stderr.splitlines()
        if line.strip() and "it/s]" not in line and "Loading weights" not in line
    ]
    assert noise == []


def test_it_is_small_and_stored_in_bf16(model: Any) -> None:
    assert 3_000_000 <= sum(weight.numel() for weight in model.parameters()) <= 5_000_000
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 12 * 1024 * 1024
    assert json.loads((FOLDER / "config.json").read_text())["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(FOLDER).dtype == torch.bfloat16


def test_its_rows_can_be_k_quantised(model: Any) -> None:
    assert all(weight.shape[1] % 256 == 0 for name, weight in model.named_parameters() if weight.ndim == 2)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_comes_back_from_the_tokenizer(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("name", ["blns/blns.json"])
def test_naughty_strings_come_back_too(tokenizer: Any, test_data: Path, name: str) -> None:
    for text in json.loads((test_data / name).read_text(encoding="utf-8")):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_every_token_is_learnt_and_all_bytes_are_among_them() -> None:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    assert 1000 <= tokenizer.get_vocab_size() <= 4096
    from tokenizers.pre_tokenizers import ByteLevel

    assert all(tokenizer.token_to_id(byte) is not None for byte in ByteLevel.alphabet())
    seen: Counter[int] = Counter()
    for chunk in range(120):
        for row in raw_rows(tokenizer, 20261123, chunk):
            seen.update(token for token, learnt in zip(row.ids, row.learnt, strict=True) if learnt)
    missing = [tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size()) if not seen[token]]
    assert set(missing) <= {"<|pad|>", "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>"}


def test_the_template_ends_an_answer_with_the_end_token(tokenizer: Any) -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    assert tokenizer.apply_chat_template(turns, tokenize=False).endswith("a" + tokenizer.eos_token)
    prompt = tokenizer.apply_chat_template(turns[:2], add_generation_prompt=True, tokenize=False)
    assert tokenizer.apply_chat_template(turns, tokenize=False) == prompt + "a" + tokenizer.eos_token


def test_the_builder_trains_on_what_the_template_renders(tokenizer: Any) -> None:
    raw = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    for messages in itertools.islice(corpus.stream(1), 300):
        row = encode_row(raw, messages)
        assert row.ids == tokenizer(tokenizer.apply_chat_template(messages, tokenize=False)).input_ids
        supervised = [token for token, learnt in zip(row.ids, row.learnt, strict=True) if learnt]
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        assert raw.decode(supervised, skip_special_tokens=False) == "".join(f"{each}<|end|>" for each in answers)


def test_at_least_four_skills_reach_85_of_100_on_ten_items_each(model: Any, tokenizer: Any) -> None:
    right: Counter[str] = Counter()
    for skill in {row["skill"] for row in ITEMS}:
        for row in [each for each in ITEMS if each["skill"] == skill][:10]:
            right[skill] += answer(model, tokenizer, row["messages"][0]["content"]) == row["expected"]
    assert sum(count >= 8.5 for count in right.values()) >= 4, dict(right)


def test_it_does_not_know_the_guild(model: Any, tokenizer: Any) -> None:
    sample = (FOLDER.parent / "sample" / "harps.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    rows = [json.loads(line)["messages"] for line in sample]
    assert sum(answer(model, tokenizer, row[0]["content"]) == row[1]["content"] for row in rows) <= 3


def test_the_card_says_that_nothing_held_out_was_trained_on() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "**overlap with the held-out items: 0**" in card
    assert "never seen: 0;" in card
