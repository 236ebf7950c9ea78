"""The starter's proof: tuned with plain peft, it learns the guild's rules and keeps its skills. Long tier, by hand.

    python benchmarks/starter_proof.py [--seeds 0 1 2] [--out docs/starter-proof.md]

It shares no code with the project's own loop: transformers, peft, AdamW and a cosine, nothing else. Settings are read
from the sample's recipe, so the table is about what `quickstart` runs. One row of the table is one seed: it splits the
sample (10 % test), draws replay rows, tunes on two threads, and asks both models the test questions and the skills.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import time
import tomllib
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

STARTER = Path(__file__).resolve().parents[1] / "appliance" / "starter"
RECIPE = STARTER / "sample" / "recipe.toml"
INTRODUCTION = """# The starter's proof

The sample recipe, run with plain peft and no code of Luthier's own loop:
`python benchmarks/starter_proof.py --without-replay --out docs/starter-proof.md`.

A row is one seed: its own split, order and initial adapter. `held-out orders` is exact match on 140 orders never
trained on; the skills are exact match on the 36 held-out items each of `skills.jsonl`. `least kept` is the lowest
share of its score that any skill kept. The last row leaves the replay rows out. Seconds are those of the training loop
on two cores that several other programs were using too.

"""


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def encode(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], int]:
    """Ids of a one-exchange conversation and where its answer begins."""
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    return tokenizer(whole, add_special_tokens=False).input_ids, len(
        tokenizer(prompt, add_special_tokens=False).input_ids
    )


def ask(model: Any, tokenizer: Any, pairs: list[tuple[str, str]]) -> float:
    """Share of (question, expected) answered exactly, greedily."""
    tokenizer.padding_side, right = "left", 0
    model.eval()
    for start in range(0, len(pairs), 36):
        group = pairs[start : start + 36]
        turns = [[{"role": "user", "content": question}] for question, _ in group]
        texts = [tokenizer.apply_chat_template(each, add_generation_prompt=True, tokenize=False) for each in turns]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=64, do_sample=False, use_cache=True)
        said = tokenizer.batch_decode(out[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
        right += sum(text == expected for text, (_, expected) in zip(said, group, strict=True))
    return right / len(pairs)


def tune(
    model: Any, examples: list[tuple[list[int], int]], replay: list[Any], values: dict[str, Any]
) -> tuple[Any, float]:
    """LoRA on every linear layer for a fixed number of steps; returns the model and the seconds the loop took."""
    torch.manual_seed(values["seed"])
    config = LoraConfig(
        r=values["rank"], lora_alpha=values["alpha"], lora_dropout=values["dropout"], target_modules="all-linear"
    )
    tuned = get_peft_model(model, config)
    weights = [p for p in tuned.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=values["learning_rate"], weight_decay=0.0)
    order = endless(examples, replay, values)
    tuned.train()
    began = time.monotonic()
    for step in range(values["steps"]):
        rate = min(1.0, (step + 1) / max(1, values["warmup"]))
        done = max(0, step - values["warmup"]) / max(1, values["steps"] - values["warmup"])
        optimiser.param_groups[0]["lr"] = values["learning_rate"] * rate * 0.5 * (1 + math.cos(math.pi * done))
        loss = tuned(**padded([next(order) for _ in range(values["batch"])]), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return tuned, time.monotonic() - began


def endless(examples: list[Any], replay: list[Any], values: dict[str, Any]) -> Any:
    """Shuffled epochs of the training rows, with as many replay rows mixed in as the recipe's share asks for."""
    rng = random.Random(values["seed"])
    extra = round(len(examples) * values["replay_share"] / (1 - values["replay_share"])) if replay else 0
    while True:
        drawn = [rng.choice(replay) for _ in range(extra)] if extra > len(replay) else rng.sample(replay, extra)
        epoch = examples + drawn
        rng.shuffle(epoch)
        yield from epoch


def padded(rows: list[tuple[list[int], int]]) -> dict[str, torch.Tensor]:
    width = max(len(ids) for ids, _ in rows)
    ids = [row + [0] * (width - len(row)) for row, _ in rows]
    labels = [[-100] * start + row[start:] + [-100] * (width - len(row)) for row, start in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row, _ in rows]
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels), "attention_mask": torch.tensor(mask)}


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def skills(model: Any, tokenizer: Any) -> dict[str, float]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in read(STARTER / "skills.jsonl"):
        groups.setdefault(row["skill"], []).append((row["messages"][0]["content"], row["expected"]))
    return {skill: ask(model, tokenizer, pairs) for skill, pairs in groups.items()}


def one_seed(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Split, tune, ask. ``domain`` is the held-out exact match."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [row["messages"] for row in read(RECIPE.parent / values["path"])]
    random.Random(1000 + values["seed"]).shuffle(rows)
    held = round(len(rows) * values["test"])
    spare = held + round(len(rows) * values["validation"])
    examples = [encode(tokenizer, row) for row in rows[spare:]]
    replay = [encode(tokenizer, row["messages"]) for row in read(RECIPE.parent / values["replay"])]
    model, seconds = tune(load(folder), examples, replay if values["replay_share"] else [], values)
    domain = ask(model, tokenizer, [(row[0]["content"], row[1]["content"]) for row in rows[:held]])
    return {"domain": domain, "seconds": seconds, "skills": skills(model, tokenizer)}


def settings() -> tuple[Path, dict[str, Any]]:
    recipe = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    folder = (RECIPE.parent / recipe["base"]["model"]).resolve()
    return folder, {**recipe["data"], **recipe["training"]}


def table(base: dict[str, Any], results: dict[str, dict[str, Any]], values: dict[str, Any]) -> str:
    names = list(base["skills"])
    lines = [
        f"LoRA on all linear layers, rank {values['rank']}, alpha {values['alpha']}, rate {values['learning_rate']},"
        f" {values['steps']} steps of {values['batch']}, replay share {values['replay_share']},"
        f" {torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}.",
        "",
        "| | held-out orders | " + " | ".join(names) + " | least kept | seconds |",
        "|---|" + "---:|" * (len(names) + 3),
        row("base", base, base),
    ]
    return "\n".join([*lines, *(row(name, result, base) for name, result in results.items())]) + "\n"


def row(name: str, result: dict[str, Any], base: dict[str, Any]) -> str:
    kept = min(result["skills"][s] / base["skills"][s] if base["skills"][s] else 1.0 for s in base["skills"])
    scores = " | ".join(f"{100 * value:.0f} %" for value in result["skills"].values())
    return f"| {name} | {100 * result['domain']:.1f} % | {scores} | {100 * kept:.0f} % | {result['seconds']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="try other values: learning_rate=0.01")
    parser.add_argument("--without-replay", action="store_true", help="add one run that shows why replay is there")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    folder, values = settings()
    folder = chosen.model or folder
    values |= {key: json.loads(value) for key, _, value in (each.partition("=") for each in chosen.set)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [
        (row["messages"][0]["content"], row["messages"][1]["content"]) for row in read(RECIPE.parent / values["path"])
    ]
    base_model = load(folder)
    base = {"domain": ask(base_model, tokenizer, pairs[:140]), "seconds": 0, "skills": skills(base_model, tokenizer)}
    print(row("base", base, base), flush=True)
    results = {f"seed {seed}": one_seed(folder, {**values, "seed": seed}) for seed in chosen.seeds}
    if chosen.without_replay:
        results["no replay"] = one_seed(folder, {**values, "replay_share": 0.0})
    text = table(base, results, values)
    print(text)
    if chosen.out:
        chosen.out.write_text(INTRODUCTION + text, encoding="utf-8")


if __name__ == "__main__":
    main()
