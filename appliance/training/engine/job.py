"""The job kind ``train``: from a dataset and a base model to a trained model.

Torch is imported inside functions, so that the job says it is alive before the seconds that takes.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import durable
from appliance.data.chat import copy_tokenizer, load_template, load_tokenizer
from appliance.errors import CorruptFolder, FileNotFound
from appliance.events import EventType
from appliance.training import ADAPTERS, OBJECTIVES
from appliance.training.base import check_base
from appliance.training.examples import Encoder, Examples, load_examples
from appliance.training.plan import TrainingPlan, read_plan
from appliance.training.seams import Adapter, Objective, from_plan
from appliance.work import Work

if TYPE_CHECKING:
    from appliance.training.engine.checkpoint import Checkpoint, State

SCHEMA = "luthier.training/1"
NUMBERS = "training.json"


def run(work: Work) -> dict[str, Any]:
    """Train as the plan says. A second attempt goes on from the newest checkpoint, or finds everything made."""
    plan = read_plan(work.job.plan, work.job.device)
    adapter: Adapter = from_plan(ADAPTERS.load(plan.adapter), plan.whole)
    objective: Objective = from_plan(OBJECTIVES.load(plan.objective), plan.whole)
    base = Path(work.job.inputs["base"])
    target = work.folder.artifacts / "model"
    numbers = _made_before(work, target)
    if numbers is None:
        _prepare_process()
        examples = _read_examples(work, plan, objective, base)
        numbers = _train(work, plan, examples, (adapter, objective))
    return {
        "model": {"path": str(target), "kind": adapter.kind, "base": str(base), "adapter": plan.adapter},
        "training": numbers,
    }


def _read_examples(work: Work, plan: TrainingPlan, objective: Objective, base: Path) -> Examples:
    work.phase("reading examples")
    check_base(base)
    dataset = Path(work.job.inputs["dataset"])
    if not (dataset / "train.jsonl").is_file():
        raise FileNotFound(f"{dataset} is not a dataset: it has no train.jsonl.", where=str(dataset))
    if (dataset / durable.MANIFEST).is_file():
        durable.verify_folder(dataset)
    encoder = Encoder(
        tokenizer=load_tokenizer(base), template=load_template(base), objective=objective, longest=plan.sequence_length
    )
    return load_examples(work, dataset, encoder)


def _train(work: Work, plan: TrainingPlan, examples: Examples, parts: tuple[Adapter, Objective]) -> dict[str, Any]:
    """The part that needs torch: load, train, save. Returns the numbers of the result."""
    work.phase("loading the base model")
    from appliance.training.engine import checkpoint
    from appliance.training.engine.loop import train
    from appliance.training.engine.setup import prepare

    made = prepare(work, plan, examples, parts)
    with made.accelerator.main_process_first():  # who finds a corrupt one sets it aside
        found = checkpoint.newest(work, made.fingerprint)
    work.phase("training")
    state = train(made, found)
    numbers = _numbers(state, found)
    if made.accelerator.is_main_process:
        work.phase("saving the model")
        with durable.folder(work.folder.artifacts / "model") as staged:
            parts[0].save(made.network.model, staged)
            base = Path(work.job.inputs["base"])
            copy_tokenizer(base, staged, load_template(base).text)
            record = {"schema": SCHEMA, "plan": dict(plan.whole), "training": numbers}
            durable.write_json(staged / NUMBERS, record)
    made.accelerator.wait_for_everyone()
    return numbers


def _numbers(state: State, found: Checkpoint | None) -> dict[str, Any]:
    from appliance.training.engine.progress import final_loss

    return {
        "steps": state.step,
        "first_loss": state.first_loss,
        "final_loss": final_loss(state),
        "best_validation_loss": state.best_validation_loss,
        "tokens": state.tokens,
        "tokens_per_second": round(state.tokens / state.training_seconds, 1) if state.training_seconds else None,
        "peak_memory_bytes": peak_memory(),
        "seconds": round(state.seconds, 3),
        "resumed_from": found.state.step if found else None,
    }


def peak_memory() -> int:
    """The most memory this process had: on the GPU when it used one, else resident in the host's."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _made_before(work: Work, target: Path) -> dict[str, Any] | None:
    """The numbers of a model that an earlier attempt finished; one that is not whole is set aside."""
    durable.sweep(target.parent)
    if not target.exists():
        return None
    try:
        durable.verify_folder(target)
        record: Mapping[str, Any] = json.loads((target / NUMBERS).read_bytes())
        return dict(record["training"])
    except (CorruptFolder, OSError, ValueError, KeyError) as error:
        work.emit(EventType.WARNED, code="corrupt-folder", message=f"{target} is made again: {error}")
        durable.remove(target)
        return None


def _prepare_process() -> None:
    """What libraries read from the environment when they are imported; the shim sets the same."""
    quiet = {
        # Threads that wait must sleep: spinning on a busy machine makes every step ten times slower.
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
