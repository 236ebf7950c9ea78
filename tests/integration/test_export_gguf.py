"""Our GGUF files against Transformers: the same numbers, the same tokens."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving_world import export, random_model, run_job
from transformers import AutoModelForCausalLM

from appliance import durable
from appliance.data.chat import load_tokenizer
from appliance.errors import InvalidBaseModel, UnknownName
from appliance.export.engine.gguf_file import convert, quantise
from appliance.export.support import check_export
from appliance.export.vocabulary import TokenType, read_vocabulary
from appliance.jobdir import JobDir
from appliance.work import KINDS, StopFlag, Work
from serving.engine import ENGINES, Echoed, Generation, LoadOptions, Sampling
from serving.gguf_check import check_gguf

TEXTS = [
    "Once upon a time there was a dog.",
    "if x == 1:\n\treturn 12345  # ünï 🙂",
    "  two  spaces\n\n\nlines",
    "it's 'LL",
]


def expected(folder: Path, ids: list[int]) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().log_softmax(-1).numpy()


def served(file: Path, ids: list[int]) -> Any:
    """Log-probabilities (length - 1, vocabulary) of the engine itself."""
    engine = ENGINES.load("llama_cpp")(LoadOptions(path=file, slots=1, threads=1))
    try:
        events: queue.Queue[Any] = queue.Queue()
        size = engine.facts.vocabulary
        sampling = Sampling(temperature=0)
        engine.submit(
            Generation(ids=tuple(ids), max_tokens=0, sampling=sampling, deliver=events.put, logprobs=size, echo=True)
        )
        echoed = events.get(timeout=60)
        assert isinstance(echoed, Echoed), echoed
    finally:
        engine.close()
    table = np.zeros((len(ids) - 1, size))
    for row, score in enumerate(echoed.scores[1:]):
        for token, value in score.top:
            table[row, token] = value
    return table


def difference(folder: Path, tmp_path: Path, precision: str) -> float:
    """The largest difference of log-probabilities where the model gives at least one in a thousand."""
    config = json.loads((folder / "config.json").read_text())
    ids = np.random.default_rng(0).integers(0, config["vocab_size"], 60).tolist()
    file = tmp_path / f"{precision}.gguf"
    convert(folder, file, precision)
    check_gguf(file)
    truth = expected(folder, ids)[:-1]
    return float(np.abs(served(file, ids) - truth)[truth > np.log(1e-3)].max())


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True, "rms_norm_eps": 1e-3, "attention_bias": True, "mlp_bias": True}),
    ("llama", {"head_dim": 64, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    ("mistral", {"sliding_window": None}),
    ("qwen2", {}),
]


@pytest.mark.parametrize(("kind", "changes"), CHANGES)
def test_a_file_of_32_bits_gives_the_numbers_of_transformers(
    kind: str, changes: dict[str, Any], starter: Path, tmp_path: Path
) -> None:
    folder = random_model(tmp_path / "model", starter, kind, **changes)
    assert difference(folder, tmp_path, "f32") < 1e-4


def test_the_fewer_bits_the_farther_and_never_far(starter: Path, tmp_path: Path) -> None:
    folder = random_model(tmp_path / "model", starter)
    ids = np.random.default_rng(0).integers(0, 1024, 60).tolist()
    truth = expected(folder, ids)[:-1]
    distances = []
    for precision in ("f32", "f16", "bf16", "q8_0", "q6_k", "q4_k_m", "q2_k"):
        convert(folder, tmp_path / f"{precision}.gguf", precision)
        found = served(tmp_path / f"{precision}.gguf", ids)
        distances.append(float((np.exp(truth) * (truth - found)).sum(-1).mean()))
    assert distances == sorted(distances)
    assert distances[0] < 1e-9
    assert distances[-2] < 0.5 < np.log(1032)


def test_real_models_give_the_numbers_of_transformers(starter: Path, test_data: Path, tmp_path: Path) -> None:
    assert difference(test_data / "tinystories656k", tmp_path, "f32") < 1e-3
    assert difference(starter, tmp_path, "f32") < 1e-3


def test_the_quantiser_agrees_with_numpy_on_q8_0(starter: Path, tmp_path: Path) -> None:
    """llama.cpp reads what gguf's numpy code wrote as what it would have written itself, but for rounding."""
    folder = random_model(tmp_path / "model", starter)
    convert(folder, tmp_path / "whole.gguf", "f32")
    convert(folder, tmp_path / "ours.gguf", "q8_0")
    quantise(tmp_path / "whole.gguf", tmp_path / "theirs.gguf", "q8_0")
    ids = list(range(7, 40))
    assert (
        np.abs(np.exp(served(tmp_path / "ours.gguf", ids)) - np.exp(served(tmp_path / "theirs.gguf", ids))).max() < 0.02
    )


def test_llama_cpp_cuts_text_as_the_starters_tokenizer_does(starter: Path, tmp_path: Path) -> None:
    """For those who load the file elsewhere; here the server never lets llama.cpp see text."""
    import llama_cpp

    convert(starter, tmp_path / "starter.gguf", "q8_0")
    reader = llama_cpp.Llama(str(tmp_path / "starter.gguf"), vocab_only=True, verbose=False)
    tokenizer = load_tokenizer(starter)
    for text in TEXTS:
        assert reader.tokenize(text.encode(), add_bos=False, special=False) == tokenizer.encode(text), text
    reader.close()


def test_padding_and_special_tokens_have_their_types(starter: Path, tmp_path: Path) -> None:
    folder = random_model(tmp_path / "model", starter)
    tokenizer = load_tokenizer(folder)
    vocabulary = read_vocabulary(folder, tokenizer.vocab_size + 8)
    assert vocabulary.types[-8:] == (TokenType.UNUSED,) * 8
    assert {n for n, type_ in enumerate(vocabulary.types) if type_ is TokenType.CONTROL} == tokenizer.special_ids
    assert vocabulary.eos == tokenizer.eos_id
    assert vocabulary.pre == "gpt-2"


def test_a_vocabulary_with_spaces_as_marks_gets_scores(test_data: Path) -> None:
    vocabulary = read_vocabulary(test_data / "tinystories656k", 2048)
    assert (vocabulary.model, vocabulary.adds_bos, vocabulary.adds_space) == ("llama", True, True)
    by_token = dict(zip(vocabulary.tokens, vocabulary.scores, strict=True))
    assert by_token["th"] > by_token["▁a"] > by_token["="] if "=" in by_token else by_token["th"] > by_token["▁a"]
    assert (vocabulary.bos, vocabulary.eos) == (1, 2)


def test_an_export_is_redone_only_where_it_is_not_whole(starter: Path, tmp_path: Path) -> None:
    first = export(tmp_path, starter, ["gguf:f16", "safetensors"])
    merged, file = Path(first["merged"]), Path(first["artifacts"][0]["path"])
    stamps = {path: path.stat().st_mtime_ns for path in (merged / "model.safetensors", file)}
    assert run_again(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    with (merged / "model.safetensors").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\0\0\1\1")
    file.unlink()
    again = run_again(tmp_path)
    assert again["artifacts"] == first["artifacts"]
    durable.verify_folder(merged)


def run_again(root: Path) -> dict[str, Any]:
    folder = JobDir(root / "export")
    result: dict[str, Any] = KINDS.load("export")(Work(folder.read(), folder, 2, lambda *_, **__: None, StopFlag()))
    return result


def test_the_merged_folder_is_a_whole_model(starter: Path, tmp_path: Path) -> None:
    """Transformers loads it alone and continues as the adapter did before merging."""
    from transformers import AutoTokenizer

    result = export(tmp_path, starter, ["gguf:f16"])
    reference = json.loads(Path(result["reference"]).read_text())
    model = AutoModelForCausalLM.from_pretrained(result["merged"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(result["merged"])
    compared = 0
    for probe in reference["probes"]:
        if probe["messages"]:
            prompt = tokenizer.apply_chat_template(probe["messages"], add_generation_prompt=True, return_dict=False)
            assert list(prompt) == probe["prompt"]
        if probe["ended"] and min(probe["margins"]) > 1e-2:
            out = model.generate(torch.tensor([probe["prompt"]]), max_new_tokens=40, do_sample=False)[0].tolist()
            assert out == [*probe["prompt"], *probe["answer"], out[-1]]
            assert out[-1] in reference["ends"]
            compared += 1
    assert compared > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "LlamaForCausalLM"),
        ({"hidden_act": "gelu"}, "silu"),
        ({"num_hidden_layers": 1_000_000}, "num_hidden_layers"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
    ],
)
def test_a_model_that_is_not_covered_is_refused_in_words(
    change: dict[str, Any], words: str, starter: Path, tmp_path: Path
) -> None:
    folder = random_model(tmp_path / "model", starter)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InvalidBaseModel, match=words):
        convert(folder, tmp_path / "out.gguf", "f16")
    assert not (tmp_path / "out.gguf").exists()


def test_a_wrong_format_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        run_job(tmp_path, "export", {"formats": ["gguf:q4km"], "name": "x"}, {"model": {}})
    assert "gguf:q4_k_m" in str(caught.value.hint)


def test_a_family_that_is_not_covered_is_known_before_anything_is_loaded(starter: Path, tmp_path: Path) -> None:
    folder = random_model(tmp_path / "model", starter)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}))
    (folder / "model.safetensors").unlink()
    model = {"path": str(folder), "kind": "full", "base": str(folder)}
    with pytest.raises(InvalidBaseModel, match="GPT2LMHeadModel"):
        run_job(tmp_path / "job", "export", {"formats": ["gguf:f16"], "name": "x"}, {"model": model})
    check_export(folder, ["safetensors"])
