"""Two ranks on one CPU, started as the shim starts them, learn what one process learns."""

from __future__ import annotations

import socket

import pytest
from safetensors.torch import load_file
from training_world import World, make_plan, start_worker

from appliance.events import read_events
from appliance.jobdir import JobDir


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.build(tmp_path_factory.mktemp("ranks"), train=40, validation=7)


def run_ranks(folder: JobDir, ranks: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [start_worker(folder, RANK=str(rank), **common) for rank in range(ranks)]
    codes = [process.wait(timeout=120) for process in started]
    assert codes == [0] * ranks, (folder.path / "worker.log").read_text()


def test_two_ranks_learn_what_one_does(world: World) -> None:
    plan = {"dropout": 0.0, "learning_rate": 1e-3, "steps": 6, "save_every": 4}
    alone = world.train("alone", make_plan(micro_batch=4, accumulation=2, **plan))
    folder = world.job("together", make_plan(micro_batch=2, accumulation=2, **plan))
    run_ranks(folder, 2)
    ours = load_file(folder.artifacts / "model" / "adapter_model.safetensors")
    theirs = load_file(alone.model / "adapter_model.safetensors")
    assert max((ours[name] - theirs[name]).abs().max().item() for name in theirs) < 1e-5
    told = [event for event in read_events(folder.events) if event["type"] == "step"]
    assert [event["loss"] for event in told] == pytest.approx(alone.losses, abs=1e-5)
    validated = [event["loss"] for event in read_events(folder.events) if event["type"] == "evaluated"]
    assert validated == pytest.approx([e["loss"] for e in alone.events if e["type"] == "evaluated"], abs=1e-5)
    assert len(list(folder.checkpoints.iterdir())) == 2
    rng = load_file(folder.checkpoints / "step-000006" / "rng.safetensors")
    assert {name.partition(".")[0] for name in rng} == {"0", "1"}
