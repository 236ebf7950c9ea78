"""The installer: one sentence for each thing that is missing, and an engine that runs on this processor."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "installer"))

import bootstrap  # noqa: E402
import engine  # noqa: E402
import preflight  # noqa: E402


def test_too_little_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(preflight.Refused, match="GB are free") as caught:
        preflight.check_disk(tmp_path, need=10**18)
    assert str(caught.value).count("\n") == 0
    preflight.check_disk(tmp_path, need=1)


def test_a_missing_compiler_is_one_sentence_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(preflight.Refused, match="apt install build-essential"):
        preflight.check_compiler()


def test_a_python_too_new_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "sys", SimpleNamespace(version_info=(3, 99, 0)))
    with pytest.raises(preflight.Refused, match=r"3\.11"):
        preflight.check_python()


def test_a_python_too_old_is_told_so_by_the_real_command(tmp_path: Path) -> None:
    """A stand-in for an old interpreter: the real file, run with the version it would see."""
    source = (REPOSITORY / "installer/__main__.py").read_text()
    code = f"import sys; sys.version_info = (3, 9, 1)\nexec({source!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs Python 3.11 or newer and this is 3.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_engine_is_never_built_natively_and_only_with_what_the_processor_has() -> None:
    everything = {"sse4_2", "avx", "avx2", "fma", "f16c", "bmi2", "amx_tile"}
    assert engine.cmake_arguments(everything, cuda=False) == ["-DGGML_NATIVE=OFF"]
    old = engine.cmake_arguments({"sse4_2", "avx"}, cuda=True)
    assert {"-DGGML_AVX2=OFF", "-DGGML_FMA=OFF", "-DGGML_F16C=OFF", "-DGGML_BMI2=OFF", "-DGGML_CUDA=ON"} <= set(old)
    assert "-DGGML_AVX=OFF" not in old


def test_another_processor_gets_another_wheel() -> None:
    first = engine.wheel_folder("llama-cpp-python==0.3.36", ["-DGGML_NATIVE=OFF"])
    assert first != engine.wheel_folder("llama-cpp-python==0.3.36", ["-DGGML_NATIVE=OFF", "-DGGML_AVX2=OFF"])
    assert first == engine.wheel_folder("llama-cpp-python==0.3.36", ["-DGGML_NATIVE=OFF"])


def test_a_half_built_wheel_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / "building").mkdir()
    (tmp_path / "building" / "x.whl").touch()
    assert engine.kept_wheel(tmp_path) is None


def test_every_requirement_is_pinned() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in bootstrap.CONSTRAINTS.read_text().splitlines()}
    for requirement in [*bootstrap.requirements(dev=True), bootstrap.engine_requirement()]:
        name = requirement.split("=")[0].split(">")[0].split("<")[0].strip().lower()
        assert name in pinned, requirement
    assert "torch==2.13.0" in bootstrap.CONSTRAINTS.read_text()


def test_a_failed_step_names_the_log_and_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "install.log")
    command = [sys.executable, "-c", "print('ERROR: No matching distribution found for torch'); raise SystemExit(1)"]
    with pytest.raises(preflight.Refused, match="No matching distribution") as caught:
        bootstrap.step("Installing packages", command)
    assert "install.log" in str(caught.value)


def test_an_installed_checkout_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text(bootstrap.fingerprint(dev=False))
    monkeypatch.setattr(bootstrap, "STAMP", stamp)
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a second run installs nothing")

    monkeypatch.setattr(bootstrap, "step", refuse)
    bootstrap.install(dev=False)


def test_the_checkout_has_a_compiler_test_can_trust() -> None:
    """Where no compiler is installed, the sentence above is what a person sees; here one is."""
    if shutil.which("c++"):
        preflight.check_compiler()
