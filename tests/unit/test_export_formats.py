"""Names of formats, what is read from a model folder, and the arithmetic of the parity verdict."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import CorruptFolder, InvalidBaseModel, UnknownName
from appliance.export.architecture import read_architecture
from appliance.export.compare import TIE, Served, Tally, divergence, verdict
from appliance.export.formats import EXPORTERS, FORMATS, parse_format, parse_formats
from appliance.export.reference import Passage, Probe, Reference, read_reference
from appliance.export.vocabulary import PRE_TOKENISERS, read_tokens, read_vocabulary

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
}


def write_config(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    return folder


def test_formats_come_back_once_and_in_order() -> None:
    assert [f.name for f in parse_formats(["gguf:q8_0", " GGUF:F16", "gguf:q8_0", "safetensors"])] == [
        "gguf:q8_0",
        "gguf:f16",
        "safetensors",
    ]


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("gguf:q4km", "gguf:q4_k_m"), ("safetensor", "safetensors"), ("gguf", "gguf:")]
)
def test_a_wrong_format_is_answered_with_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UnknownName) as caught:
        parse_format(wrong)
    assert nearest in str(caught.value.hint)


def test_every_format_has_an_exporter_and_wider_ones_stricter_bounds() -> None:
    assert {f.exporter for f in FORMATS.values()} == set(EXPORTERS)
    order = ["gguf:f32", "gguf:f16", "gguf:bf16", "gguf:q8_0", "gguf:q6_k", "gguf:q4_k_m", "gguf:q2_k"]
    bounds = [FORMATS[name].divergence for name in order]
    assert bounds == sorted(bounds)


def test_the_rotary_base_is_found_where_either_release_of_transformers_writes_it(tmp_path: Path) -> None:
    assert read_architecture(write_config(tmp_path, rope_theta=5e5)).rope_base == 5e5
    new = {"rope_type": "default", "rope_theta": 1e6}
    assert read_architecture(write_config(tmp_path, rope_parameters=new)).rope_base == 1e6
    assert read_architecture(write_config(tmp_path)).rope_base == 1e4


def test_a_sliding_window_limits_the_context(tmp_path: Path) -> None:
    config = {"architectures": ["MistralForCausalLM"], "sliding_window": 32}
    assert read_architecture(write_config(tmp_path, **config)).context == 32
    config = {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 32, "use_sliding_window": False}
    assert read_architecture(write_config(tmp_path, **config)).context == 128


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": []},
        {"architectures": "LlamaForCausalLM"},
        {"hidden_size": 0},
        {"hidden_size": True},
        {"num_hidden_layers": 10**6},
        {"rms_norm_eps": float("inf")},
        {"rope_theta": -1},
        {"rope_scaling": {"type": "yarn", "factor": 2}},
        {"rope_scaling": {"type": "linear"}},
    ],
)
def test_absurd_configurations_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidBaseModel):
        read_architecture(write_config(tmp_path, **change))


def write_tokeniser(folder: Path, pre: dict[str, Any]) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine = Tokenizer(models.BPE({character: n for n, character in enumerate(alphabet)}, []))
    engine.add_special_tokens(["<s>", "</s>"])
    body = json.loads(engine.to_str()) | {"pre_tokenizer": pre}
    (folder / "tokenizer.json").write_text(json.dumps(body))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def test_pre_tokenisers_are_known_by_how_they_cut(tmp_path: Path) -> None:
    assert read_vocabulary(write_tokeniser(tmp_path, byte_level(True)), 300).pre == "gpt-2"
    for (pattern, *more), name in PRE_TOKENISERS.items():
        if more or pattern == "gpt2":
            continue
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        pre = {"type": "Sequence", "pretokenizers": [split, byte_level(False)]}
        assert read_vocabulary(write_tokeniser(tmp_path, pre), 300).pre == name


def test_an_unknown_way_of_cutting_is_refused_and_names_the_known(tmp_path: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": r"\d"}, "behavior": "Isolated", "invert": False}
    pre = {"type": "Sequence", "pretokenizers": [split, byte_level(True)]}
    with pytest.raises(InvalidBaseModel, match="gpt-2, llama-bpe, qwen2"):
        read_vocabulary(write_tokeniser(tmp_path, pre), 300)


def test_a_token_beyond_the_embeddings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidBaseModel, match="257"):
        read_vocabulary(write_tokeniser(tmp_path, byte_level(True)), 257)


def test_the_real_llama_3_tokenizer_is_recognised(test_data: Path) -> None:
    folder = test_data / "torchtune_tokenizers"
    vocabulary = read_vocabulary(folder, len(read_tokens(folder)))
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", "llama-bpe")


def test_the_divergence_is_exact_for_whole_distributions_and_never_too_high() -> None:
    draw = random.Random(0)
    for _ in range(200):
        size = draw.randint(2, 40)
        p, q = ([draw.expovariate(1) ** 3 + 1e-9 for _ in range(size)] for _ in range(2))
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        truth = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

        def best(values: list[float], count: int) -> list[tuple[int, float]]:
            return sorted(((i, math.log(v)) for i, v in enumerate(values)), key=lambda pair: -pair[1])[:count]

        assert divergence(best(p, size), dict(best(q, size))) == pytest.approx(truth, abs=1e-5)
        few = draw.randint(1, size)
        assert divergence(best(p, few), dict(best(q, draw.randint(1, size)))) <= truth + 1e-5


def test_distributions_that_share_no_likely_token_are_far_apart() -> None:
    reference = [(1, math.log(0.6)), (2, math.log(0.4))]
    assert divergence(reference, {3: math.log(0.98), 4: math.log(0.01)}) > 3


def probe(margins: tuple[float, ...]) -> Probe:
    passage = Passage(name="p", ids=(1, 5, 6), logprobs=(-0.1, -0.1), top=(((5, -0.1),), ((6, -0.1),)))
    return Probe(name="p", prompt=(1,), answer=(5, 6), answer_text="", ended=False, margins=margins, passage=passage)


@pytest.mark.parametrize(("margin", "exact", "passes"), [(TIE / 2, True, True), (0.5, True, False), (0.5, False, True)])
def test_a_float_format_may_differ_only_where_the_reference_was_undecided(
    margin: float, exact: bool, passes: bool
) -> None:
    tally = Tally()
    served = Served((-0.1, -0.1), ({5: -0.1}, {9: -0.1, 6: -0.2}))
    tally.add_greedy(probe((0.9, margin)), served)
    tally.add_passage(
        Passage(name="p", ids=(1, 2), logprobs=(-0.1,), top=(((2, -0.1),),)), Served((-0.1,), ({2: -0.1},))
    )
    passed, lines = verdict(parse_format("gguf:f16" if exact else "gguf:q4_k_m"), tally)
    assert passed is passes
    assert all(line.endswith(".") for line in lines)


def test_nothing_compared_is_not_a_pass() -> None:
    for name in FORMATS:
        assert verdict(parse_format(name), Tally())[0] is False


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole = Reference(
        ends=(2,), begin=None, template="t", token_count=3, tokens="x", probes=(probe((0.1, 0.2)),), texts=()
    )
    file = tmp_path / "reference.json"
    file.write_text(json.dumps(whole.as_dict()))
    assert read_reference(file) == whole
    file.write_text(json.dumps(whole.as_dict() | {"schema": "other/1"}))
    with pytest.raises(CorruptFolder):
        read_reference(file)
