"""Model profiles: counts against the published ones and the stored tensors, and folders nobody should trust."""

from __future__ import annotations

import json
import shutil
import struct
import tomllib
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import FileNotFound, InvalidBaseModel, UnknownName
from profiles.catalogue import HERE
from profiles.model import catalogue_model, catalogue_names, find_model, read_model

PUBLISHED = tomllib.loads((HERE / "models.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", catalogue_names())
def test_a_shape_of_the_catalogue_has_the_published_number_of_parameters(name: str) -> None:
    profile = catalogue_model(name)
    assert profile.parameters == PUBLISHED[name]["parameters"]
    assert profile.parameters == sum(profile.kinds.values())


def test_a_token_passes_only_some_of_the_experts() -> None:
    """12.9 of 46.7 billion, as Mistral AI states (arXiv:2401.04088); 3.3 of 30.5, as the Qwen3 report does."""
    assert round(catalogue_model("mixtral-8x7b").active_parameters / 1e9, 1) == 12.9
    assert round(catalogue_model("qwen3-30b-a3b").active_parameters / 1e9, 1) in (3.3, 3.4)
    assert not catalogue_model("mixtral-8x7b").tested
    dense = catalogue_model("llama-3.1-8b")
    assert dense.active_parameters == dense.parameters


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        ("llama-3.1-8b", "full"),
        ("gemma-2-2b", "sliding 4096 in 13 of 26 layers"),
        ("gemma-3-1b", "sliding 512 in 22 of 26 layers"),
    ],
)
def test_the_kind_of_attention_is_said(name: str, attention: str) -> None:
    assert catalogue_model(name).attention == attention


def test_a_wrong_shape_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        find_model("catalogue:llama-3.1-8")
    assert "llama-3.1-8b" in (caught.value.hint or "")


def test_a_real_model_is_counted_to_the_last_parameter(test_data: Path) -> None:
    profile = read_model(test_data / "tinystories656k")
    assert profile.parameters == 656_000
    assert (profile.layers, profile.hidden, profile.kv_heads, profile.context) == (2, 128, 4, 512)
    assert profile.tied_embeddings


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 10,
        "max_position_embeddings": 16,
    }
    (folder / "config.json").write_text(json.dumps(config))
    header = json.dumps(
        {"model.layers.0.x.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(32))
    return folder


def test_a_whole_folder_of_no_known_family_is_read_and_labelled(model_folder: Path) -> None:
    profile = read_model(model_folder)
    assert profile.parameters == 8
    assert (profile.family, profile.tested) == ("generic", False)


def break_config(text: str) -> Any:
    return lambda folder: (folder / "config.json").write_text(text)


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def long_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")


def escaping_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))


def header(entry: dict[str, Any], size: int = 32) -> Any:
    def write(folder: Path) -> None:
        text = json.dumps({"x": entry}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))

    return write


def pickle_instead(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (remove("config.json"), "config.json"),
        (remove("model.safetensors"), "no weights"),
        (pickle_instead, "pytorch_model.bin"),
        (break_config("[]"), "expected an object"),
        (break_config("{"), "not JSON"),
        (break_config('{"auto_map": {}}'), "auto_map"),
        (break_config('{"num_hidden_layers": 1000000}'), "num_hidden_layers"),
        (break_config("[" * 100_000), "not JSON"),
        (cut_weights, "not a whole"),
        (long_header, "not a whole"),
        (header({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 32]}), "not a whole"),
        (header({"dtype": "F32", "shape": [-2, -4], "data_offsets": [0, 32]}), "not a whole"),
        (header({"dtype": "F32", "shape": [2, 4], "data_offsets": [32, 0]}), "not a whole"),
        (header({"dtype": "F32", "shape": [1e400, 4], "data_offsets": [0, 32]}), "not a whole"),
        (header({"dtype": "F32", "shape": [2] * 4000, "data_offsets": [0, 32]}), "not a whole"),
        (break_config('{"text_config": {"hidden_size": -1}}'), "hidden_size is -1"),
        (break_config('{"hidden_size": ' + "9" * 4000 + "}"), "hidden_size is 9"),
        (escaping_index, "outside"),
    ],
)  # fmt: skip
def test_a_broken_base_model_says_what_is_broken(model_folder: Path, spoil: Any, word: str) -> None:
    spoil(model_folder)
    with pytest.raises(InvalidBaseModel, match=word) as caught:
        read_model(model_folder)
    assert str(model_folder) in str(caught.value)


def test_a_missing_base_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFound):
        read_model(tmp_path / "none")
