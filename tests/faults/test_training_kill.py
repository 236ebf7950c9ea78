"""A training job that is killed, stopped or starved of disk ends in the same weights as one left alone."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_world import Told, Trained, World, build_base, build_dataset, make_plan, start_worker, weights_of

from appliance import durable
from appliance.errors import DiskFull, Interrupted, PlanMismatch
from appliance.events import read_events
from appliance.jobdir import JobDir
from appliance.training.engine.checkpoint import steps
from appliance.training.engine.job import run
from appliance.work import Work

# Dropout in the base and in the adapter, accumulation 2, 40 examples in batches of 8: an epoch is 5 steps.
PLAN = make_plan(steps=24, save_every=4, validate_every=7, dropout=0.2, replay_share=0.25)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("faults")
    base = build_base(root / "base", dropout=0.1)
    return World(root, base, build_dataset(root / "dataset", train=38, replay=7))


@pytest.fixture(scope="module")
def undisturbed(world: World) -> Trained:
    return world.train("undisturbed", PLAN)


def wait_for_step(folder: JobDir, step: int, process: subprocess.Popen[bytes]) -> None:
    """Return as soon as the worker has told of ``step``, or ended."""
    while process.poll() is None:
        if any(event["type"] == "step" and event["step"] >= step for event in read_events(folder.events)):
            return
        time.sleep(0.002)


def finish(folder: JobDir) -> dict[str, object]:
    process = start_worker(folder)
    assert process.wait(timeout=120) == 0, (folder.path / "worker.log").read_text()
    result = folder.read_result(folder.last_attempt())
    assert result is not None
    return result["result"]["training"]


def killed_and_finished(world: World, name: str, moments: list[int]) -> tuple[JobDir, dict[str, object]]:
    """Run a job, kill it with SIGKILL soon after each of the steps, and let it end."""
    folder = world.job(name, PLAN)
    for step in moments:
        process = start_worker(folder)
        wait_for_step(folder, step, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return folder, finish(folder)


def test_a_killed_job_resumes_to_the_same_bits(world: World, undisturbed: Trained) -> None:
    moments = sorted(random.Random(11).sample(range(2, 24), 3))
    folder, numbers = killed_and_finished(world, "killed", moments)
    assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model)
    assert numbers["resumed_from"] in range(4, 25, 4)
    for key in ("steps", "tokens", "first_loss", "final_loss", "best_validation_loss"):
        assert numbers[key] == undisturbed.result["training"][key], key


@pytest.mark.long
def test_a_job_killed_many_times_resumes_to_the_same_bits(world: World, undisturbed: Trained) -> None:
    for seed in range(8):
        moments = sorted(random.Random(seed).sample(range(1, 25), 3))
        folder, _ = killed_and_finished(world, f"killed-{seed}", moments)
        assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model), moments


def test_sigterm_saves_at_the_next_step_and_resumes_to_the_same_bits(world: World, undisturbed: Trained) -> None:
    folder = world.job("stopped", PLAN)
    process = start_worker(folder)
    wait_for_step(folder, 6, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 1
    result = folder.read_result(1)
    assert result is not None
    assert result["error"]["code"] == "interrupted"
    told = [event["step"] for event in read_events(folder.events) if event["type"] == "step"]
    saved = [event["step"] for event in read_events(folder.events) if event["type"] == "saved"]
    assert saved[-1] == told[-1]
    assert finish(folder)["resumed_from"] == told[-1]
    assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model)


@pytest.mark.parametrize("step", [1, 7, 23, 24])
def test_a_job_stopped_at_any_step_resumes_to_the_same_bits(world: World, undisturbed: Trained, step: int) -> None:
    folder = world.job(f"stopped-{step}", PLAN)
    told = Told(stop_at=step)
    with pytest.raises(Interrupted, match=f"step {step}"):
        run(Work(folder.read(), folder, 1, told.emit, told.stop))
    again = Told()
    result = run(Work(folder.read(), folder, 2, again.emit))
    assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model)
    assert result["training"]["resumed_from"] == step
    assert result["training"]["best_validation_loss"] == undisturbed.result["training"]["best_validation_loss"]
    seen = [event["step"] for event in told.events + again.events if event["type"] == "step"]
    assert seen == list(range(1, 25))


def test_a_finished_model_is_found_and_not_made_again(world: World, undisturbed: Trained) -> None:
    told = Told()
    before = (undisturbed.model / durable.MANIFEST).stat().st_mtime_ns
    result = run(Work(undisturbed.folder.read(), undisturbed.folder, 2, told.emit))
    assert result == undisturbed.result
    assert (undisturbed.model / durable.MANIFEST).stat().st_mtime_ns == before
    assert told.events == []


def copy_of(world: World, undisturbed: Trained, name: str) -> JobDir:
    """The undisturbed job as it stood before its model was saved."""
    target = world.root / "jobs" / name
    shutil.copytree(undisturbed.folder.path, target)
    shutil.rmtree(target / "artifacts")
    return JobDir(target)


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json"])
def test_a_corrupt_checkpoint_is_set_aside_and_an_older_one_used(world: World, undisturbed: Trained, file: str) -> None:
    folder = copy_of(world, undisturbed, f"corrupt-{file}")
    damage(folder.checkpoints / "step-000024" / file)
    told = Told()
    result = run(Work(folder.read(), folder, 2, told.emit))
    assert result["training"]["resumed_from"] == 20
    assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model)
    warned = [event for event in told.events if event["type"] == "warned"]
    assert [event["code"] for event in warned] == ["corrupt-folder"]
    assert (folder.checkpoints / "corrupt-step-000024").is_dir()
    assert [path.name for path in steps(folder.checkpoints)] == ["step-000024", "step-000020"]


def test_with_every_checkpoint_corrupt_the_job_begins_again(world: World, undisturbed: Trained) -> None:
    folder = copy_of(world, undisturbed, "all-corrupt")
    (folder.checkpoints / ".partial-step-000025-x").mkdir()
    damage(folder.checkpoints / "step-000024" / "weights.safetensors")
    (folder.checkpoints / "step-000020" / "state.json").unlink()
    result = run(Work(folder.read(), folder, 2, Told().emit))
    assert result["training"]["resumed_from"] is None
    assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model)
    assert not list(folder.checkpoints.glob(".partial-*"))


def test_a_checkpoint_of_another_dataset_is_refused(world: World, undisturbed: Trained, tmp_path: Path) -> None:
    folder = copy_of(world, undisturbed, "mismatch")
    other = build_dataset(tmp_path / "other", train=20)
    body = json.loads(folder.job_file.read_bytes()) | {"inputs": {"dataset": str(other), "base": str(world.base)}}
    folder.job_file.unlink()
    from appliance.jobdir import Job

    folder.create(Job(**{key: value for key, value in body.items() if key not in ("schema", "sha256")}))
    with pytest.raises(PlanMismatch, match="another plan, dataset or base model"):
        run(Work(folder.read(), folder, 2, Told().emit))


def test_no_checkpoint_holds_anything_that_could_be_code(undisturbed: Trained) -> None:
    names = {path.name for path in undisturbed.folder.checkpoints.rglob("*") if path.is_file()}
    assert names == {"weights.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json", durable.MANIFEST}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB, where root may make one."""
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_is_named_and_leaves_the_last_checkpoint_whole(
    world: World, undisturbed: Trained, small_disk: Path
) -> None:
    folder = world.job("full-disk", PLAN)
    shutil.move(folder.path, small_disk / "job")
    folder = JobDir(small_disk / "job")
    filler = small_disk / "filler"

    class Filling(Told):
        def emit(self, type_: object, /, **data: object) -> None:
            super().emit(type_, **data)
            if str(type_) == "step" and data["step"] == 13:
                free = os.statvfs(small_disk)
                filler.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - 16_384))

    with pytest.raises(DiskFull):
        run(Work(folder.read(), folder, 1, Filling().emit))
    assert next(steps(folder.checkpoints)).name == "step-000012"
    durable.verify_folder(folder.checkpoints / "step-000012")
    assert not list(folder.checkpoints.glob(".partial-*"))
    filler.unlink()
    result = run(Work(folder.read(), folder, 2, Told().emit))
    assert result["training"]["resumed_from"] == 12
    assert weights_of(folder.artifacts / "model") == weights_of(undisturbed.model)


def test_a_job_does_not_outgrow_its_files_silently(world: World) -> None:
    """Whatever stops a file from growing, the job fails and keeps no half checkpoint."""
    folder = world.job("limited", PLAN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(Exception, match=r"full|[Ff]ile too large"):
            run(Work(folder.read(), folder, 1, Told().emit))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.checkpoints.iterdir()) == []
