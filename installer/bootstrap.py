"""Make ``.venv`` in the checkout, fill it with pinned packages, and run what was asked.

Every step looks first whether its work is done, so a second run does nothing and an interrupted one goes on where
it stopped. Only the package index is contacted, and only while a step has something to install.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import engine
import preflight

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = CHECKOUT / "installer" / "constraints.txt"
LOG = CHECKOUT / ".install.log"
STAMP = VENV / "luthier-installed"
RUN_EXTRAS = ("daemon", "train", "serve", "tui")
PROGRESS_EVERY_S = 15


def main(argv: Sequence[str] | None = None) -> int:
    """Install if needed, then run. Exit status 2 when this machine cannot be installed on."""
    parser = argparse.ArgumentParser(prog="python3 installer", description="Install Luthier into .venv and run it.")
    parser.add_argument("command", choices=("setup", "quickstart", "test"), help="what to run when it is installed")
    options, rest = parser.parse_known_args(argv)
    try:
        with _only_one():
            install(dev=options.command == "test")
    except preflight.Refused as refusal:
        say(f"✖ {refusal}")
        return 2
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again; it goes on where it stopped.")
        return 130
    if options.command == "setup":
        say(f"Installed. The command is {VENV / 'bin' / 'luthier'}")
        return 0
    commands = {"quickstart": [str(PYTHON), "-m", "appliance.cli", "quickstart"], "test": [str(PYTHON), "-m", "pytest"]}
    return run_in_checkout(commands[options.command] + rest)


def install(*, dev: bool) -> None:
    """Bring ``.venv`` to the state that this checkout asks for. Raises ``Refused``."""
    wanted = fingerprint(dev=dev)
    done = STAMP.read_text().split() if STAMP.exists() else []
    if wanted in done and PYTHON.exists():
        return
    preflight.check_platform()
    preflight.check_python()
    started = time.monotonic()
    if not PYTHON.exists():
        preflight.check_disk(CHECKOUT)
    make_environment()
    step("Installing packages (torch and friends, about 2 GB; minutes on a slow line)", pip_install(dev=dev))
    install_engine()
    step("Installing Luthier itself", _pip("install", "--no-deps", "--no-build-isolation", "-e", str(CHECKOUT)))
    STAMP.write_text("\n".join({*done, wanted, fingerprint(dev=False)}))
    say(f"✔ Installed in {time.monotonic() - started:.0f} s. Nothing is downloaded from now on.")


def fingerprint(*, dev: bool) -> str:
    """What an environment was made from; another one means installing again."""
    parts = [sys.version, str(dev), CONSTRAINTS.read_text(), (CHECKOUT / "pyproject.toml").read_text(), str(CHECKOUT)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_environment() -> None:
    """Create ``.venv``, again from the start when an earlier attempt left it without a working pip."""
    works = PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0
    if not works:
        step("Creating .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])


def requirements(*, dev: bool) -> list[str]:
    """Every requirement of the project but the engine, which is built apart."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = RUN_EXTRAS + (("dev",) if dev else ())
    names = project["dependencies"] + [name for extra in extras for name in project["optional-dependencies"][extra]]
    return sorted({name for name in names if not name.startswith("llama-cpp-python")} | {"hatchling", "editables"})


def pip_install(*, dev: bool) -> list[str]:
    return _pip("install", "-c", str(CONSTRAINTS), "--prefer-binary", *requirements(dev=dev))


def install_engine() -> None:
    """Install llama-cpp-python from the kept wheel, which is built first when there is none for this processor."""
    requirement = engine_requirement()
    if _has(requirement):
        return
    arguments = engine.cmake_arguments()
    folder = engine.wheel_folder(requirement, arguments)
    wheel = engine.kept_wheel(folder) or _build_engine(requirement, arguments, folder)
    step("Installing the inference engine", _pip("install", "-c", str(CONSTRAINTS), str(wheel)))


def engine_requirement() -> str:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next(name for name in project["optional-dependencies"]["serve"] if name.startswith("llama-cpp-python"))


def _build_engine(requirement: str, arguments: list[str], folder: Path) -> Path:
    preflight.check_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    how = "with CUDA" if "-DGGML_CUDA=ON" in arguments else "for this processor"
    with tempfile.TemporaryDirectory(dir=folder) as building:
        step(
            f"Compiling the inference engine {how} (once; about 4 minutes on two cores)",
            # pip would take a wheel from its own cache whatever switches that one was built with.
            _pip("wheel", "--no-cache-dir", "--no-deps", "-w", building, requirement),
            environ={"CMAKE_ARGS": " ".join(arguments)},
        )
        built = next(Path(building).glob("*.whl"))
        return Path(shutil.move(built, folder / built.name))


def _has(requirement: str) -> bool:
    name, _, version = requirement.partition("==")
    code = f"import importlib.metadata as m, sys; sys.exit(m.version({name!r}) != {version!r})"
    return subprocess.run([PYTHON, "-c", code], capture_output=True).returncode == 0


def _pip(*arguments: str) -> list[str]:
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def step(title: str, command: list[str], *, environ: dict[str, str] | None = None) -> None:
    """Run one command with its output in the log, and say every few seconds that it goes on. Raises ``Refused``."""
    say(f"• {title} …")
    started = time.monotonic()
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})})
        try:
            _wait(child, started)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if child.returncode:
        raise preflight.Refused(f"{title} ended with status {child.returncode}. {_reason()} The whole log: {LOG}")
    say(f"✔ {title.partition(' (')[0]}: {time.monotonic() - started:.0f} s")


def _wait(child: subprocess.Popen[bytes], started: float) -> None:
    while True:
        try:
            child.wait(timeout=PROGRESS_EVERY_S)
            return
        except subprocess.TimeoutExpired:
            say(f"  {time.monotonic() - started:4.0f} s  {_tail(LOG)[-1][:90]}")


def _reason() -> str:
    errors = [line for line in _tail(LOG) if "error" in line.lower() or "No space" in line]
    return f"pip says: {errors[-1].strip()}" if errors else ""


def _tail(path: Path) -> list[str]:
    """The last lines of a log that are not empty."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 8000))
        text = stream.read().decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


@contextmanager
def _only_one() -> Iterator[None]:
    """Two installers in one checkout would write the same files."""
    with (CHECKOUT / "installer" / "constraints.txt").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another installer works in this checkout; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_in_checkout(command: list[str]) -> int:
    """Run a command of the environment from the checkout, with its own exit status."""
    os.chdir(CHECKOUT)
    environ = {**os.environ, "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    os.execve(command[0], command, environ)


def say(text: str) -> None:
    """Narration goes to stderr; stdout belongs to the command that is run afterwards."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
