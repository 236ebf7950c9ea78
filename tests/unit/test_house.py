"""The house keeps its own measure: sizes, walls, names. What is over has a line here with its reason, or is cut."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("appliance", "profiles", "scheduler", "serving", "tui", "installer")
MAY_IMPORT = {
    "appliance": set(),
    "profiles": {"appliance"},
    "serving": {"appliance"},
    "scheduler": {"appliance", "profiles", "serving"},
    "tui": {"appliance"},
    "installer": set(),
}
HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "onnxruntime", "llama_cpp", "bitsandbytes"}
FILE_MAX, FUNCTION_MAX, CLASS_MAX, METHODS_MAX, POSITIONAL_MAX = 500, 80, 300, 20, 5
CAPS = {"tui/app.py": 250, "scheduler/daemon.py": 200, "appliance/spec.py": 300}
BAD_FILES = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
ROLE = re.compile(r"(Manager|Handler|Orchestrator|Coordinator|Processor|Helper|Service|Factory|Controller)$")
# Named by a library's protocol, not by us.
ALLOWED_ROLES: set[str] = set()

SOURCES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]


def parsed() -> Iterator[tuple[str, str, ast.Module]]:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        yield str(path.relative_to(REPOSITORY)), text, ast.parse(text)


def test_no_file_outgrows_its_room() -> None:
    sizes = {name: text.count("\n") for name, text, _ in parsed()}
    assert [(name, size) for name, size in sizes.items() if size > CAPS.get(name, FILE_MAX)] == []
    assert [name for name in sizes if Path(name).name in BAD_FILES] == []


def test_no_function_or_class_outgrows_a_reader() -> None:
    over = []
    for name, _, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_MAX:
                    over.append(f"{name}:{node.lineno} {node.name}")
                positional = [arg.arg for arg in node.args.args if arg.arg not in ("self", "cls")]
                if len(positional) > POSITIONAL_MAX:
                    over.append(f"{name}:{node.lineno} {node.name}: {len(positional)} positional parameters")
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) for inner in node.body)
                if (node.end_lineno or 0) - node.lineno + 1 > CLASS_MAX or methods > METHODS_MAX:
                    over.append(f"{name}:{node.lineno} class {node.name}")
    assert over == []


def test_classes_are_named_for_things_not_roles() -> None:
    roles = [
        f"{name}:{node.lineno} {node.name}"
        for name, _, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and ROLE.search(node.name) and node.name not in ALLOWED_ROLES
    ]
    assert roles == []


def test_no_room_enters_another_uninvited() -> None:
    broken = []
    for name, _, tree in parsed():
        package = name.split("/")[0]
        for node in ast.walk(tree):
            for imported in _imported(node):
                if imported in PACKAGES and imported != package and imported not in MAY_IMPORT[package]:
                    broken.append(f"{name}:{node.lineno} imports {imported}")  # type: ignore[attr-defined]
    assert broken == []


def test_heavy_libraries_are_imported_at_the_top_only_in_engine_rooms() -> None:
    found = [
        f"{name}:{node.lineno} {imported}"
        for name, _, tree in parsed()
        if not {"engine", "engines"} & set(Path(name).parts)
        for node in tree.body
        for imported in _imported(node)
        if imported in HEAVY
    ]
    assert found == []


def test_broad_excepts_stand_at_the_four_edges_only() -> None:
    """CLI main, API middleware, worker main, TUI worker (and the server's, which is an API edge)."""
    edges = re.compile(r"appliance/work\.py|appliance/cli/|scheduler/api/|scheduler/daemon\.py|serving/|tui/")
    found = []
    for name, _, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not edges.match(name) and not _raises(node):
                found.append(f"{name}:{node.lineno}")
    assert found == []


def test_nothing_reads_or_writes_a_pickle_or_evaluates_text() -> None:
    """A pickle runs what its author wrote; so do eval and a shell line."""
    modules = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "tarfile"}
    calls = {"eval", "exec", "torch.load", "torch.save", "shutil.unpack_archive", "os.system"}
    found = []
    for name, _, tree in parsed():
        for node in ast.walk(tree):
            bad = bool(modules & set(_imported(node)))
            bad |= isinstance(node, ast.Call) and ast.unparse(node.func) in calls
            bad |= isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) == "True"
            if bad:
                found.append(f"{name}:{getattr(node, 'lineno', 0)} {ast.unparse(node)[:60]}")
    assert found == []


def test_the_project_speaks_of_luthier_alone() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    words = re.compile(r"\.\./" + r"shared|/work/" + r"(main|shared)|" + "claude|anthropic" + r"(?!/v1)", re.IGNORECASE)
    found = []
    for name in tracked:
        path = REPOSITORY / name
        if name == ".ci/run" or path.suffix in (".safetensors", ".jsonl", ".svg") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if name != "tests/unit/test_house.py" and words.search(text):
            found.append(name)
    assert found == []


def test_the_installer_is_readable_by_an_old_python() -> None:
    source = (REPOSITORY / "installer/__main__.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert not (REPOSITORY / "installer/__init__.py").exists()


@pytest.mark.parametrize("package", ["appliance", "profiles", "scheduler", "serving", "tui"])
def test_the_names_on_the_path_are_ours(package: str) -> None:
    code = f"import {package}; print({package}.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(REPOSITORY)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.split(".")[0]]
    return []


def _is_broad(node: ast.ExceptHandler) -> bool:
    return node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")


def _raises(node: ast.ExceptHandler) -> bool:
    """A broad ``except`` that always raises again cleans up and hides nothing."""
    return any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
