"""The check in front of the engine: what llama.cpp would abort on is refused in words, and nothing breaks the check."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.engine import ModelRefused
from serving.gguf_check import check_gguf

Change = Callable[[dict[str, Any], dict[str, tuple[int, ...]]], None]


def write(path: Path, change: Change = lambda *_: None) -> Path:
    """A small valid file by the ``gguf`` package, after ``change`` of its values and shapes."""
    import numpy as np
    from gguf import GGUFWriter

    values: dict[str, Any] = {
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "llama.feed_forward_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": [f"t{n}" for n in range(10)],
        "tokenizer.ggml.token_type": [1] * 10,
        "tokenizer.chat_template": "{{ messages }}",
    }
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (10, 32),
        "output_norm.weight": (32,),
        "blk.0.attn_norm.weight": (32,),
    }
    change(values, shapes)
    writer = GGUFWriter(path, values.pop("general.architecture", "llama"))
    for key, value in values.items():
        adders: dict[type, Any] = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        adders |= {str: writer.add_string, list: writer.add_array}
        adders[type(value)](key, value)
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_sound_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = check_gguf(write(tmp_path / "a.gguf"))
    assert (file.vocabulary, file.context, file.begin, file.ends) == (10, 64, 1, frozenset({2}))
    assert file.tokens == [f"t{n}" for n in range(10)]
    assert file.template == "{{ messages }}"
    assert file.cache_bytes(64, 2) == 2 * 64 * 1 * 2 * 8 * 2
    assert file.tensors["token_embd.weight"].sides == (32, 10)


WRONG: list[tuple[str, Change]] = [
    ("eos_token_id is 10", lambda values, _: values.update({"tokenizer.ggml.eos_token_id": 10})),
    ("eos_token_id is 2147483648", lambda values, _: values.update({"tokenizer.ggml.eos_token_id": 2**31})),
    (
        "9 tokens",
        lambda values, _: values.update({"tokenizer.ggml.tokens": ["a"] * 9, "tokenizer.ggml.token_type": [1] * 9}),
    ),
    ("token_type has 3", lambda values, _: values.update({"tokenizer.ggml.token_type": [1] * 3})),
    ("no list of tokens", lambda values, _: values.pop("tokenizer.ggml.tokens")),
    ("no list of tokens", lambda values, _: values.update({"tokenizer.ggml.tokens": [1, 2]})),
    ("output_norm", lambda _, shapes: shapes.pop("output_norm.weight")),
    ("token_embd", lambda _, shapes: shapes.pop("token_embd.weight")),
    ("block 0", lambda _, shapes: shapes.pop("blk.0.attn_norm.weight")),
    ("block_count is 4000000000", lambda values, _: values.update({"llama.block_count": 4_000_000_000})),
    ("block_count is 0", lambda values, _: values.update({"llama.block_count": 0})),
    ("context_length is None", lambda values, _: values.pop("llama.context_length")),
    ("no multiple", lambda values, _: values.update({"llama.attention.head_count": 5})),
    ("width", lambda values, _: values.update({"llama.embedding_length": 64})),
    ("epsilon is nan", lambda values, _: values.update({"llama.attention.layer_norm_rms_epsilon": float("nan")})),
    ("chat template", lambda values, _: values.update({"tokenizer.chat_template": 5})),
    ("expected", lambda values, _: values.update({"general.architecture": "other"})),
]


@pytest.mark.parametrize(("words", "change"), WRONG)
def test_what_an_engine_would_trust_is_checked(words: str, change: Change, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=words):
        check_gguf(write(tmp_path / "a.gguf", change))


def test_headers_that_lie_are_refused(tmp_path: Path) -> None:
    sound = write(tmp_path / "a.gguf").read_bytes()
    first_tensor = sound.index(b"token_embd.weight") + len("token_embd.weight")
    lies = {
        "not GGUF": b"GGML" + sound[4:],
        "version 9": sound[:4] + struct.pack("<I", 9) + sound[8:],
        "too many tensors": sound[:8] + struct.pack("<Q", 2**60) + sound[16:],
        "too many keys": sound[:16] + struct.pack("<Q", 2**40) + sound[24:],
        "nothing": b"",
        "four bytes": b"GGUF",
        "many sides": sound[:first_tensor] + struct.pack("<I", 9) + sound[first_tensor + 4 :],
        "a huge side": sound[: first_tensor + 4] + struct.pack("<Q", 2**62) + sound[first_tensor + 12 :],
        "an unknown type": sound[: first_tensor + 20] + struct.pack("<I", 99) + sound[first_tensor + 24 :],
        "an offset outside": sound[: first_tensor + 24] + struct.pack("<Q", 2**40) + sound[first_tensor + 32 :],
        "an offset into another": sound[: first_tensor + 24] + struct.pack("<Q", 32) + sound[first_tensor + 32 :],
    }
    for what, data in lies.items():
        file = tmp_path / "lie.gguf"
        file.write_bytes(data)
        with pytest.raises(ModelRefused):
            pytest.fail(f"accepted: {what}") if check_gguf(file) else None


def test_no_damage_breaks_the_check_itself(tmp_path: Path) -> None:
    sound = write(tmp_path / "a.gguf").read_bytes()
    draw = random.Random(0)
    file = tmp_path / "b.gguf"
    for _ in range(500):
        data = bytearray(sound)
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data) - 1500)] = draw.randrange(256)
        file.write_bytes(bytes(data[: draw.randrange(len(data))] if draw.random() < 0.2 else data))
        with contextlib.suppress(ModelRefused):
            check_gguf(file)


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.gguf"):
        with pytest.raises(ModelRefused):
            check_gguf(path)
