"""What cannot be trained is refused before torch is loaded, with a reason."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from training_world import make_plan

from appliance.errors import FileNotFound, InvalidBaseModel, InvalidSpec, UnknownName
from appliance.registry import Entry
from appliance.training import ADAPTERS, OBJECTIVES
from appliance.training.base import check_base
from appliance.training.fingerprint import job_fingerprint
from appliance.training.plan import read_plan

REPOSITORY = Path(__file__).parent.parent.parent


def base_folder(root: Path, config: dict[str, object] | None = None, weights: str = "model.safetensors") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text(json.dumps(config or {"model_type": "llama", "vocab_size": 10}))
    (root / weights).write_bytes(b"weights")
    return root


def test_every_fault_of_a_plan_is_named_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_plan(make_plan(steps=0, schedule="cosin", learning_rate="fast", packing=True, base_precision="nf4"))
    for word in ("steps", "schedule", "learning_rate", "packing", "base_precision"):
        assert word in caught.value.message


def test_the_place_of_the_job_wins_over_the_plan() -> None:
    assert read_plan(make_plan()).device == "cpu"
    assert read_plan(make_plan(), "cuda:1").device == "cuda:1"


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"num_hidden_layers": 1_000_000}, "num_hidden_layers"),
        ({"vocab_size": -1}, "vocab_size"),
    ],
)
def test_a_configuration_that_asks_for_trouble_is_refused(tmp_path: Path, config: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidBaseModel, match=word):
        check_base(base_folder(tmp_path / "base", config))


def test_a_base_without_weights_says_what_it_has_instead(tmp_path: Path) -> None:
    with pytest.raises(InvalidBaseModel, match=r"no weights.*pytorch_model\.bin"):
        check_base(base_folder(tmp_path / "base", weights="pytorch_model.bin"))
    with pytest.raises(FileNotFound):
        check_base(tmp_path / "nowhere")


@pytest.mark.parametrize("shard", ["../stolen.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_cannot_name_a_file_outside_the_folder(tmp_path: Path, shard: str) -> None:
    folder = base_folder(tmp_path / "base")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(InvalidBaseModel, match="shard"):
        check_base(folder)


def test_a_fingerprint_follows_contents_and_not_places(tmp_path: Path) -> None:
    def dataset(name: str, line: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train.jsonl").write_text(line)
        return folder

    first, same, other = dataset("a", "1"), dataset("b", "1"), dataset("c", "2")
    base, copy = base_folder(tmp_path / "base"), base_folder(tmp_path / "copy")
    plan = make_plan()
    fingerprint = job_fingerprint(plan, first, base)
    assert job_fingerprint(plan, same, copy) == fingerprint
    assert job_fingerprint(plan, other, base) != fingerprint
    assert job_fingerprint(make_plan(seed=8), first, base) != fingerprint
    (copy / "model.safetensors").write_bytes(b"weightz")
    assert job_fingerprint(plan, first, copy) != fingerprint


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(UnknownName) as caught:
        ADAPTERS["lorra"]
    assert caught.value.hint == "Did you mean 'lora'?"


@pytest.mark.parametrize("entry", [*ADAPTERS.values(), *OBJECTIVES.values()], ids=lambda entry: entry.target)
def test_every_registry_target_exists(entry: Entry) -> None:
    module, _, name = entry.target.partition(":")
    tree = ast.parse((REPOSITORY / Path(*module.split("."))).with_suffix(".py").read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert entry.summary
    assert not entry.missing


def test_parts_and_their_options_are_listed_without_torch() -> None:
    program = (
        "import sys; from dataclasses import fields; from appliance.training import ADAPTERS, OBJECTIVES\n"
        "[fields(table.load(name)) for table in (ADAPTERS, OBJECTIVES) for name in table]\n"
        "import appliance.training.engine.job, appliance.training.examples\n"
        "heavy = {'torch', 'transformers', 'peft', 'accelerate', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
