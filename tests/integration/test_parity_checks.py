"""The parity check: green for sound exports, red for every way one can be spoilt."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_world import export, run_job

from appliance.errors import ParityFailed
from serving.gguf_check import check_gguf

FORMATS = ["gguf:f16", "gguf:q8_0", "safetensors"]


@pytest.fixture(scope="module")
def exported(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return export(tmp_path_factory.mktemp("starter"), starter, FORMATS)


def check(root: Path, exported: dict[str, Any], **changes: Any) -> dict[str, Any]:
    inputs = exported | {"tokenizer": exported["merged"]} | changes
    return run_job(root / "parity", "parity", {"formats": [a["format"] for a in inputs["artifacts"]]}, inputs)


def spoilt(root: Path, exported: dict[str, Any], format_: str, spoil: Callable[[Path], None]) -> dict[str, Any]:
    """What the check says of a copy of an artifact after ``spoil``. It must be red."""
    artifact = next(a for a in exported["artifacts"] if a["format"] == format_)
    source = Path(artifact["path"])
    copy = root / source.name
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
    spoil(copy)
    with pytest.raises(ParityFailed) as caught:
        check(root, exported, artifacts=[artifact | {"path": str(copy)}])
    result: dict[str, Any] = caught.value.fixes[0]["parity"]
    assert not result["passed"]
    assert any(line in str(caught.value) for line in result["lines"])
    return result


def after(data: bytes, key: str, skip: int) -> int:
    """Where the value of a metadata key begins."""
    return data.index(key.encode()) + len(key) + skip


def edit(path: Path, place: int, new: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(new)


def test_sound_exports_pass_and_say_so_in_words(exported: dict[str, Any], tmp_path: Path) -> None:
    results = {a["format"]: a["parity"] for a in check(tmp_path, exported)["artifacts"]}
    assert list(results) == FORMATS
    for name, parity in results.items():
        assert parity["passed"], (name, parity["lines"])
        assert parity["compared"] > 100
    for exact in ("gguf:f16", "safetensors"):
        assert results[exact]["equal"] + results[exact]["excused"] == results[exact]["compared"]
    assert 0 < results["gguf:f16"]["kl"] < results["gguf:q8_0"]["kl"]
    json.dumps(results)


def test_a_real_model_without_bytes_in_its_vocabulary_passes(test_data: Path, tmp_path: Path) -> None:
    """Its tokenizer knows no =, +, ü nor emoji, and llama.cpp's would abort on them."""
    result = export(tmp_path, test_data / "tinystories656k", FORMATS)
    names = [probe["name"] for probe in json.loads(Path(result["reference"]).read_text())["probes"]]
    assert {f"the message {text!r}" for text in "=+ü🙂"} <= set(names)
    assert all(artifact["parity"]["passed"] for artifact in check(tmp_path, result)["artifacts"])


def test_a_fully_tuned_model_needs_no_merging(starter: Path, tmp_path: Path) -> None:
    inputs = {"model": {"path": str(starter), "kind": "full", "base": str(starter)}, "dataset": None}
    result = run_job(tmp_path / "export", "export", {"formats": ["gguf:f16", "gguf:bf16"], "name": "full"}, inputs)
    weights = (Path(result["merged"]) / "model.safetensors", starter / "model.safetensors")
    assert abs(weights[0].stat().st_size - weights[1].stat().st_size) < 10_000
    assert all(artifact["parity"]["passed"] for artifact in check(tmp_path, result)["artifacts"])


@pytest.mark.parametrize("format_", ["gguf:f16", "gguf:q8_0"])
def test_a_corrupted_tensor_turns_it_red(format_: str, exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        place = check_gguf(path).tensors["blk.0.attn_output.weight"]
        edit(path, place.start, bytes(place.size))

    result = spoilt(tmp_path, exported, format_, spoil)
    assert result["kl"] > 1e-2


def test_rows_in_the_wrong_order_turn_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    """What a writer that forgets to permute Q would produce: every number is there, at the wrong place."""

    def spoil(path: Path) -> None:
        place = check_gguf(path).tensors["blk.0.attn_q.weight"]
        with path.open("rb") as stream:
            stream.seek(place.start)
            rows = stream.read(place.size)
        half = place.size // 2
        edit(path, place.start, rows[half:] + rows[:half])

    spoilt(tmp_path, exported, "gguf:f16", spoil)


def test_a_corrupted_end_token_turns_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        place = after(path.read_bytes(), "tokenizer.ggml.eos_token_id", 4)
        edit(path, place, struct.pack("<I", 300))

    result = spoilt(tmp_path, exported, "gguf:q8_0", spoil)
    assert any("end tokens" in line for line in result["lines"])
    assert any("ends 0 of" in line for line in result["lines"])


def test_a_corrupted_template_in_the_file_turns_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        data = path.read_bytes()
        place = data.index(b"assistant", after(data, "tokenizer.chat_template", 12))
        edit(path, place, b"assistent")

    result = spoilt(tmp_path, exported, "gguf:q8_0", spoil)
    assert any("template" in line for line in result["lines"])


def test_another_template_beside_the_file_turns_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    """The server renders with the tokenizer folder, so that folder is part of what is proven."""
    folder = tmp_path / "tokenizer"
    shutil.copytree(exported["merged"], folder)
    (folder / "chat_template.jinja").write_text("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(ParityFailed, match="become other tokens"):
        check(tmp_path, exported, tokenizer=str(folder), artifacts=exported["artifacts"][:1])


def test_a_renamed_token_turns_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        data = path.read_bytes()
        place = data.index(b"<|user|>", after(data, "tokenizer.ggml.tokens", 16))
        edit(path, place, b"<|usar|>")

    result = spoilt(tmp_path, exported, "gguf:q8_0", spoil)
    assert any(line.startswith("Its tokens") for line in result["lines"])


def test_spoilt_weights_in_the_folder_turn_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        file = path / "model.safetensors"
        edit(file, file.stat().st_size // 2, bytes(100_000))

    spoilt(tmp_path, exported, "safetensors", spoil)


def test_a_file_cut_short_turns_it_red_before_the_engine_sees_it(exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        with path.open("r+b") as stream:
            stream.truncate(path.stat().st_size - 1000)

    result = spoilt(tmp_path, exported, "gguf:q8_0", spoil)
    assert any("outside the file" in line for line in result["lines"])


def test_weights_that_are_no_numbers_turn_it_red(exported: dict[str, Any], tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        place = check_gguf(path).tensors["blk.1.ffn_down.weight"]
        edit(path, place.start, struct.pack("<e", float("nan")) * 64)

    spoilt(tmp_path, exported, "gguf:f16", spoil)
