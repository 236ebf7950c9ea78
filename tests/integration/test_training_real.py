"""Training with a real pretrained model and real data, and with the bundled starter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_world import World, make_plan, write_rows

from appliance.data.chat import load_template
from appliance.training import ADAPTERS

ENOUGH = {"micro_batch": 8, "accumulation": 1, "steps": 30, "warmup": 3, "validate_every": 5, "save_every": 30}


def held_out(done_events: list[dict[str, object]]) -> list[float]:
    return [float(str(event["loss"])) for event in done_events if event["type"] == "evaluated"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_plain_text_lowers_the_held_out_loss_of_a_real_model(test_data: Path, tmp_path: Path, adapter: str) -> None:
    text = next((test_data / "tinyshakespeare").glob("*.txt")).read_text()[:120_000]
    pieces = [text[start : start + 350] for start in range(0, len(text), 350)]
    rows = [{"row": number, "text": piece} for number, piece in enumerate(pieces, 1)]
    (tmp_path / "dataset").mkdir()
    write_rows(tmp_path / "dataset" / "train.jsonl", rows[:-12])
    write_rows(tmp_path / "dataset" / "validation.jsonl", rows[-12:])
    world = World(tmp_path, test_data / "tinystories656k", tmp_path / "dataset")
    rate = {"lora": 1e-2, "full": 1e-3}.get(adapter, 1e-3)
    done = world.train(
        "shakespeare", make_plan(adapter=adapter, sequence_length=512, learning_rate=rate, rank=8, **ENOUGH)
    )
    losses = held_out(done.events)
    assert losses[-1] < losses[0] - 0.3


def test_a_model_without_a_chat_template_is_saved_with_the_one_it_learnt(test_data: Path, tmp_path: Path) -> None:
    rows = json.loads((test_data / "llamafactory" / "alpaca_en_demo.json").read_text())[:80]
    (tmp_path / "dataset").mkdir()
    examples = [
        {
            "row": number,
            "messages": [
                {"role": "user", "content": row["instruction"][:200]},
                {"role": "assistant", "content": row["output"][:200]},
            ],
        }
        for number, row in enumerate(rows, 1)
    ]
    write_rows(tmp_path / "dataset" / "train.jsonl", examples)
    base = test_data / "tinystories656k"
    done = World(tmp_path, base, tmp_path / "dataset").train(
        "alpaca", make_plan(sequence_length=512, learning_rate=1e-2, dropout=0.0, rank=8, **ENOUGH)
    )
    assert sum(done.losses[-5:]) < sum(done.losses[:5]) - 1
    assert load_template(base).source == "default"
    assert (done.model / "chat_template.jinja").read_text() == load_template(base).text
    assert load_template(done.model).text == load_template(base).text


def test_the_starter_learns_its_sample(starter: Path, tmp_path: Path) -> None:
    sample = starter.parent / "sample" / "harps.jsonl"
    if not (starter / "model.safetensors").is_file():
        pytest.skip(f"{starter} is not built")
    rows = [{"row": number, **json.loads(line)} for number, line in enumerate(sample.read_text().splitlines()[:100], 1)]
    (tmp_path / "dataset").mkdir()
    write_rows(tmp_path / "dataset" / "train.jsonl", rows)
    plan = make_plan(micro_batch=8, accumulation=1, steps=12, learning_rate=4e-3, rank=16, sequence_length=256)
    done = World(tmp_path, starter, tmp_path / "dataset").train("harps", plan)
    assert done.losses[-1] < 0.7 * done.losses[0]
