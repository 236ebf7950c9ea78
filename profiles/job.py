"""The job kind ``plan``: profile the base model in this child, then decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import spec as specs
from appliance.errors import CorruptFolder
from profiles.devices import read_machine
from profiles.fitting import Question
from profiles.model import read_model
from profiles.planner import make_plan

if TYPE_CHECKING:
    from appliance.work import Work


def run(work: Work) -> dict[str, Any]:
    """``{"plan": luthier.plan/1, "model": profile of the base}``."""
    work.phase("reading the base model")
    model = read_model(work.job.inputs["base"])
    dataset = read_dataset(Path(work.job.inputs["dataset"]))
    work.phase("planning")
    question = Question(
        spec=specs.parse(work.job.spec),
        dataset=dataset,
        model=model,
        machine=read_machine(folder=str(work.folder.path)),
        keep_checkpoints=int(work.job.settings.get("training", {}).get("keep_checkpoints", 2)),
    )
    return {"plan": make_plan(question), "model": model.as_dict()}


def read_dataset(folder: Path) -> dict[str, Any]:
    """``dataset.json`` of a dataset folder. Raises ``CorruptFolder``."""
    path = folder / "dataset.json"
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptFolder(f"{path} cannot be read: {error}.", where=str(path)) from error
    if not isinstance(value, dict):
        raise CorruptFolder(f"{path} is not an object.", where=str(path))
    return value
