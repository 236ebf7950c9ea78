"""A tiny world to train in: a random Llama with a tokenizer of its own, a dataset, a plan, a job folder."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.jobdir import Job, JobDir
from appliance.work import StopFlag, Work

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
WORDS = ["oak", "elm", "ash", "pine", "fir", "yew", "bee", "ant", "owl", "fox", "hen", "cod", "red", "blue", "green"]


def build_base(folder: Path, *, dropout: float = 0.0, embeddings: int = 320, seed: int = 0) -> Path:
    """A random two-layer Llama of some 50,000 parameters with a byte-level tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=embeddings,
            initializer_range=0.2,  # large enough that the tied head can say something definite
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            attention_dropout=dropout,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    model.save_pretrained(folder)
    return folder


def exercise(number: int) -> dict[str, Any]:
    """A question with an answer that can be learnt, of a length of its own."""
    pick = random.Random(number)
    words = [pick.choice(WORDS) for _ in range(pick.randint(1, 7))]
    asked = {"role": "user", "content": "say again " + " ".join(words)}
    return {"row": number + 1, "messages": [asked, {"role": "assistant", "content": " ".join(words)}]}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def build_dataset(folder: Path, *, train: int = 40, validation: int = 6, replay: int = 0) -> Path:
    """A dataset folder as ingest leaves it, as far as training reads it."""
    folder.mkdir(parents=True)
    rows = [exercise(number) for number in range(train + validation + replay)]
    write_rows(folder / "train.jsonl", rows[:train])
    write_rows(folder / "validation.jsonl", rows[train : train + validation])
    if replay:
        write_rows(folder / "replay.jsonl", rows[train + validation :])
    return folder


def make_plan(**values: Any) -> dict[str, Any]:
    """A plan as the planner writes it, for a few quick steps."""
    plan = {
        "schema": "luthier.plan/1",
        "method": values.get("adapter", "lora"),
        "adapter": "lora",
        "objective": "sft",
        "base_precision": "fp32",
        "devices": ["cpu"],
        "micro_batch": 4,
        "accumulation": 2,
        "sequence_length": 128,
        "steps": 8,
        "epochs": 1.6,
        "learning_rate": 5e-3,
        "schedule": "cosine",
        "warmup": 2,
        "weight_decay": 0.01,
        "clip": 1.0,
        "rank": 4,
        "alpha": 8,
        "dropout": 0.1,
        "optimizer": "adamw",
        "checkpointing": False,
        "packing": False,
        "save_every": 3,
        "validate_every": 4,
        "seed": 7,
        "replay_share": 0.0,
    }
    return plan | values


@dataclass
class World:
    """Where the tiny things lie."""

    root: Path
    base: Path
    dataset: Path

    @classmethod
    def build(cls, root: Path, **dataset: Any) -> World:
        return cls(root, build_base(root / "base"), build_dataset(root / "dataset", **dataset))

    def job(self, name: str, plan: dict[str, Any], **inputs: str) -> JobDir:
        """A job folder ready for its first attempt."""
        folder = JobDir(self.root / "jobs" / name)
        folder.create(
            Job(
                id="j-test",
                kind="train",
                name=name,
                spec={},
                inputs={"dataset": str(self.dataset), "base": str(self.base), **inputs},
                plan=plan,
                settings={"training": {"threads": 1, "keep_checkpoints": 2}},
            )
        )
        return folder

    def train(self, name: str, plan: dict[str, Any], **inputs: str) -> Trained:
        """Run the job kind in this process."""
        from appliance.training.engine.job import run

        folder = self.job(name, plan, **inputs)
        told = Told()
        result = run(Work(folder.read(), folder, 1, told.emit))
        return Trained(folder, result, told.events)


@dataclass
class Told:
    """Collects what a job tells; can ask it to stop at a step."""

    stop: StopFlag = field(default_factory=StopFlag)
    stop_at: int | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def emit(self, type_: Any, /, **data: Any) -> None:
        self.events.append({"type": str(type_), **data})
        if str(type_) == "step" and data["step"] == self.stop_at:
            self.stop.requested = True


@dataclass
class Trained:
    """A finished job."""

    folder: JobDir
    result: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def model(self) -> Path:
        return Path(self.result["model"]["path"])

    @property
    def losses(self) -> list[float]:
        return [event["loss"] for event in self.events if event["type"] == "step"]


def weights_of(model: Path) -> str:
    """The hash of a trained model's weights."""
    digest = hashlib.sha256()
    for file in sorted(model.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def start_worker(folder: JobDir, **environment: str) -> subprocess.Popen[bytes]:
    """The real worker, in a process of its own."""
    repository = Path(__file__).parent.parent
    with (folder.path / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "appliance.work", str(folder.path)],
            cwd=repository,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=log,
            stderr=log,
        )
