"""A tiny world to export and serve in: models to make files of, job folders, and servers started for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.events import read_events
from appliance.jobdir import Job, JobDir
from appliance.work import StopFlag, Work

REPOSITORY = Path(__file__).parent.parent


def random_model(folder: Path, tokens_of: Path, kind: str = "llama", **changes: Any) -> Path:
    """A random two-layer model of hidden size 256 (so that K-quants apply) with the tokenizer of another folder."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

    from appliance.data.chat import copy_tokenizer, load_template, load_tokenizer

    config = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}[kind]
    tokenizer = load_tokenizer(tokens_of)
    sizes: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size + 8,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(**(sizes | changes)))
    # A bias starts at zero, which would hide that it was forgotten.
    for name, weight in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    copy_tokenizer(tokens_of, folder, load_template(tokens_of).text)
    return folder


def add_adapter(base: Path, folder: Path) -> Path:
    """Adapter weights on ``base`` that change its answers, as a train job leaves them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from appliance.data.chat import copy_tokenizer, load_template

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    wrapped.save_pretrained(str(folder), save_embedding_layers=False)
    copy_tokenizer(base, folder, load_template(base).text)
    return folder


def write_dataset(folder: Path) -> Path:
    """A dataset folder with a few held-out rows."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {
            "row": number,
            "messages": [
                {"role": "user", "content": f"Tell me about the little dog number {number}."},
                {"role": "assistant", "content": "There was a little dog. He was happy and he liked to play."},
            ],
        }
        for number in range(1, 4)
    ]
    rows.append({"row": 4, "text": "Once upon a time, there was a little girl. She loved to play in the sun."})
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run_job(folder: Path, kind: str, spec: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """One attempt of a job in this process. Raises what the kind raises."""
    from appliance.work import KINDS

    job = JobDir(folder)
    job.create(Job(id="j-aaaaaa", kind=kind, name="tiny", spec=spec, inputs=inputs))
    result: dict[str, Any] = KINDS.load(kind)(Work(job.read(), job, 1, lambda *_, **__: None, StopFlag()))
    return result


def export(root: Path, base: Path, formats: Sequence[str]) -> dict[str, Any]:
    """The result of an export job of adapter weights on ``base``."""
    adapter = add_adapter(base, root / "adapter")
    inputs = {
        "model": {"path": str(adapter), "kind": "adapter", "base": str(base)},
        "dataset": str(write_dataset(root / "dataset")),
    }
    return run_job(root / "export", "export", {"formats": list(formats), "name": "tiny"}, inputs)


@dataclass
class Server:
    """An inference server of a job folder, as the shim starts it."""

    folder: JobDir
    process: subprocess.Popen[bytes]
    attempt: int

    @property
    def url(self) -> str:
        return str(self.wait_for("ready")["url"])

    def events(self, type_: str) -> list[dict[str, Any]]:
        return [e for e in read_events(self.folder.events) if e["type"] == type_ and e["attempt"] == self.attempt]

    def wait_for(self, type_: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th event of a type."""
        deadline = time.monotonic() + 60
        while len(found := self.events(type_)) < count:
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, f"no {type_}"
            time.sleep(0.02)
        return found[count - 1]


def write_models(folder: Path, *entries: dict[str, Any]) -> None:
    durable.write_json(folder / "models.json", {"models": list(entries)})


def make_serve_job(folder: Path, *entries: dict[str, Any], **settings: Any) -> JobDir:
    job = JobDir(folder)
    serve = {"host": "127.0.0.1", "port": 18777, "context": 0, "slots": 4} | settings
    job.create(Job(id="j-serve1", kind="serve", name="endpoint", spec={}, settings={"serve": serve}))
    write_models(folder, *entries)
    return job


@contextmanager
def running(job: JobDir, attempt: int = 1) -> Iterator[Server]:
    """The server of a job folder while the block lasts."""
    durable.make_folder(job.attempt(attempt))
    with job.log(attempt).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving", str(job.path), "--attempt", str(attempt)],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Server(job, process, attempt)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
