"""What every test shares: a quiet, offline, single-threaded environment and the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.pop("LUTHIER_DEVICES", None)

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test ever sees the installation of the person who runs it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LUTHIER_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real datasets and models; tests that want it skip without it."""
    folder = os.environ.get("LUTHIER_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LUTHIER_TEST_DATA names no folder of real data")
    return Path(folder).absolute()


@pytest.fixture(scope="session")
def starter() -> Path:
    """The bundled base model."""
    return REPOSITORY / "appliance" / "starter" / "model"
