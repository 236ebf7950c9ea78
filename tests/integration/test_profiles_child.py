"""``python -m profiles``, as the command line asks it: a plan for a machine and a model that one does not have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.jobdir import Job, JobDir
from appliance.training.plan import read_plan

ROWS = 40


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}."}) for n in range(ROWS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def ask(rows: Path, *arguments: str, spec: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "profiles", "plan", "--data", str(rows), *arguments]
    done = subprocess.run(command, input=json.dumps(spec or {}), capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or done.stderr)


def test_a_shape_of_the_catalogue_is_planned_for_a_machine_one_does_not_own(rows: Path) -> None:
    code, plan = ask(rows, "--base", "catalogue:llama-3.1-8b", "--hardware", "fake:1x24GB")
    assert code == 0
    assert plan["schema"] == "luthier.plan/1"
    assert plan["parameters"] == 8_030_261_248
    assert plan["devices"] == ["cuda:0"]
    assert "catalogue" in plan["reasons"]["sequence_length"]


def test_what_does_not_fit_ends_with_seven_and_what_would(rows: Path) -> None:
    code, error = ask(rows, "--base", "catalogue:llama-3.1-70b", "--hardware", "RTX4090")
    assert (code, error["code"]) == (7, "does-not-fit")
    code, error = ask(rows, "--base", "catalogue:llama-3.1-8b", "--hardware", "fake:1x24GB", spec=FULL)
    assert code == 7
    assert error["fixes"]


FULL = {"training": {"method": "full"}}


def test_the_bundled_model_is_planned_for_this_machine_with_its_lengths(rows: Path, starter: Path) -> None:
    code, plan = ask(rows, "--base", str(starter))
    assert code == 0
    assert "longest kept example" in plan["reasons"]["sequence_length"]


def test_the_plan_of_a_job_is_one_that_the_trainer_reads(tmp_path: Path, starter: Path) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    described = {"rows": {"kept": 300}, "tokens": {"longest": 90, "mean": 40.0}}
    (dataset / "dataset.json").write_text(json.dumps(described))
    folder = JobDir(tmp_path / "j-plan")
    job = Job(id="j-plan", kind="plan", name="plan", spec={}, inputs={"base": str(starter), "dataset": str(dataset)})
    folder.create(job)
    done = subprocess.run([sys.executable, "-m", "appliance.work", str(folder.path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    result = (folder.read_result(1) or {})["result"]
    read = read_plan(result["plan"])
    assert (read.adapter, read.base_precision, read.device) == ("lora", "fp32", "cpu")
    assert result["model"]["family"] == "llama"
    assert json.loads(json.dumps(result)) == result
