"""From a file to an answer through the command line alone: daemon, workers and the inference server are real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


class Shell:
    """Runs command lines in one home, as a script would."""

    def __init__(self, home: Path) -> None:
        self.environment = os.environ | {"LUTHIER_HOME": str(home), "LUTHIER_DEVICES": "cpu", "NO_COLOR": "1"}

    def __call__(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "appliance.cli", *words]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )

    def value(self, *words: str) -> dict[str, Any]:
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        body: dict[str, Any] = json.loads(done.stdout)
        return body


@pytest.fixture(scope="module")
def luthier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("home"))
    yield shell
    for deployment in shell.value("ps")["deployments"]:
        shell("unserve", deployment["id"])
    shell("daemon", "stop", "--stop-jobs")


@pytest.fixture(scope="module")
def tuned(luthier: Shell, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A few steps on the starter: enough for everything to be made, not for the gate to pass."""
    file = tmp_path_factory.mktemp("data") / "greetings.jsonl"
    turns = [
        [{"role": "user", "content": f"Greet guest {n}."}, {"role": "assistant", "content": f"Welcome, guest {n}!"}]
        for n in range(60)
    ]
    file.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns))
    return luthier.value("tune", str(file), "--name", "greeter", "--set", "training.steps=6", "--wait")


def test_a_tune_ends_with_everything_that_its_schema_promises(tuned: dict[str, Any]) -> None:
    assert tuned["schema"] == "luthier.tune/1"
    assert tuned["state"] == "succeeded"
    assert tuned["dataset"]["rows"]["total"] == 60
    assert tuned["plan"]["steps"] == tuned["training"]["steps"] == 6
    assert {artifact["format"] for artifact in tuned["artifacts"]} == {"gguf:f16", "gguf:q8_0"}
    assert all(artifact["parity"]["passed"] and Path(artifact["path"]).is_file() for artifact in tuned["artifacts"])
    assert tuned["evaluation"]["gate"]["lines"]
    assert all(Path(tuned["report"][kind]).is_file() for kind in ("html", "markdown"))
    assert tuned["deployment"]["base_url"].startswith("http://127.0.0.1:")


def test_the_tuned_model_answers_from_the_command_line_and_from_a_pipe(luthier: Shell, tuned: dict[str, Any]) -> None:
    name = tuned["deployment"]["model"]
    asked = luthier.value("run", name, "Greet guest 3.", "--temperature", "0", "--max-tokens", "12")
    assert asked["schema"] == "luthier.answer/1"
    assert asked["answer"]
    streamed = luthier("run", name, "--temperature", "0", "--max-tokens", "12", stdin="Greet guest 3.\n")
    assert streamed.stdout.strip() == asked["answer"].strip()
    odd = luthier("run", name, "= + ü 漢 🎻", "--max-tokens", "4")
    assert odd.returncode == 0, odd.stderr


def test_the_endpoints_python_text_runs_as_it_is(luthier: Shell, tuned: dict[str, Any]) -> None:
    pytest.importorskip("openai")
    text = luthier("endpoint", "--format", "python").stdout
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    variables = luthier("endpoint", "--format", "env").stdout
    assert f"OPENAI_BASE_URL={tuned['deployment']['base_url']}" in variables


def test_a_model_can_be_unserved_asked_again_exported_verified_and_evaluated(
    luthier: Shell, tuned: dict[str, Any]
) -> None:
    assert luthier("unserve", "greeter").returncode == 0
    assert luthier("endpoint").returncode == 4
    again = luthier("run", "greeter", "Greet guest 4.", "--max-tokens", "4")
    assert again.returncode == 0, again.stderr
    assert "not served yet" in again.stderr
    made = luthier.value("model", "export", "greeter", "--to", "gguf:q4_k_m")
    assert [artifact["format"] for artifact in made["artifacts"]] == ["gguf:q4_k_m"]
    assert luthier.value("model", "verify", "greeter")["artifacts"]
    assert luthier.value("evaluate", "greeter", "--limit", "5")["schema"] == "luthier.evaluation/1"


def test_a_gate_that_was_required_and_says_no_exits_9(luthier: Shell, tuned: dict[str, Any]) -> None:
    wanted = ["--name", "refused", "--set", "training.steps=1", "--set", "training.learning_rate=1e-8"]
    done = luthier("tune", "greeter", *wanted, "--no-serve", "--require-gate")
    assert done.returncode == 9, done.stderr
    assert "not proven better" in done.stderr
