"""Everything a run works on, made ready: process, model, adapter, optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from appliance.training.engine.batches import Feed
from appliance.training.engine.distributed import cpu_threads, make_accelerator
from appliance.training.engine.loop import Run
from appliance.training.engine.model import Network, load_base
from appliance.training.engine.optimizer import make_optimizer, trainable
from appliance.training.engine.seed import seed_all
from appliance.training.examples import Examples
from appliance.training.fingerprint import job_fingerprint
from appliance.training.plan import TrainingPlan
from appliance.training.seams import Adapter, Objective
from appliance.work import Work


def prepare(work: Work, plan: TrainingPlan, examples: Examples, parts: tuple[Adapter, Objective]) -> Run:
    """Load the base model and make the run. Raises ``InvalidBaseModel`` and ``JobFailed``."""
    adapter, objective = parts
    settings: Mapping[str, Any] = work.job.settings.get("training", {})
    base = Path(work.job.inputs["base"])
    accelerator = make_accelerator(plan, cpu_threads(int(settings.get("threads", 0))))
    model = wrapped_model(base, plan, adapter, examples)
    network = Network(model, plan.base_precision).to(accelerator.device)
    network.choose_head(_first_row(examples).to(accelerator.device))
    weights = trainable(model)
    return Run(
        work=work,
        plan=plan,
        accelerator=accelerator,
        network=network,
        learner=accelerator.prepare_model(network),
        objective=objective,
        feed=Feed(
            plan=plan,
            examples=examples,
            objective=objective,
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
        ),
        weights=weights,
        optimizer=make_optimizer(weights, plan),
        fingerprint=job_fingerprint(work.job.plan, Path(work.job.inputs["dataset"]), base),
        keep=max(2, int(settings.get("keep_checkpoints", 2))),
    )


def wrapped_model(base: Path, plan: TrainingPlan, adapter: Adapter, examples: Examples) -> nn.Module:
    """The base model with the adapter's weights ready to change; the same seed gives the same initial weights."""
    precision = "fp32" if adapter.trains_base else plan.base_precision
    model: Any = load_base(base, precision)
    examples.check_ids(model.get_input_embeddings().weight.shape[0], base)
    if plan.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    seed_all(plan.seed)
    return adapter.wrap(model)


def _first_row(examples: Examples) -> torch.Tensor:
    return torch.frombuffer(examples.train.items[0].ids, dtype=torch.int32).long().unsqueeze(0)
