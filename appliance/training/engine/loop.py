"""The training loop.

One function, ``train``, is the whole of it; what it calls is in the files beside it. The adapter made the weights
that change, the objective makes the loss, and everything else about a step is here to be read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import AdamW

from appliance.errors import Interrupted
from appliance.events import EventType
from appliance.training.engine import checkpoint
from appliance.training.engine.batches import Feed, learning_parts
from appliance.training.engine.checkpoint import State
from appliance.training.engine.distributed import any_rank, gather, total
from appliance.training.engine.model import Network
from appliance.training.engine.optimizer import optimizer_tensors, restore_optimizer
from appliance.training.engine.progress import Clock, Pace, Step, advance
from appliance.training.engine.seed import restore_rng, rng_tensors, seed_all
from appliance.training.plan import TrainingPlan
from appliance.training.schedule import rate_factor
from appliance.training.seams import Objective
from appliance.work import Work


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run works on."""

    work: Work
    plan: TrainingPlan
    accelerator: Accelerator
    network: Network
    """The model of this rank."""
    learner: nn.Module
    """The same, as ``accelerate`` prepared it: its gradients are those of all ranks."""
    objective: Objective
    feed: Feed
    weights: Mapping[str, nn.Parameter]
    """The weights that change, by name."""
    optimizer: AdamW
    fingerprint: str
    """Of plan, dataset and base model: whose checkpoints these are."""
    keep: int
    """Checkpoints kept."""


def train(run: Run, found: checkpoint.Checkpoint | None = None) -> State:
    """Train to the plan's last step, from the beginning or from a checkpoint.

    Everything that decides a step's result is a function of the plan and the step, or is in the checkpoint, so
    on a CPU a resumed run gives the same bits as an undisturbed one. Raises ``Diverged``, ``DiskFull``, and
    ``Interrupted`` after saving when the job was asked to stop.
    """
    plan, accelerator, work = run.plan, run.accelerator, run.work
    ranks = accelerator.num_processes
    state = resume(run, found)
    clock = Clock(state)
    pace = Pace(plan.steps, state.step)
    if _validation_due(plan, state):  # saved when asked to stop, before there was time to validate
        state = validate(run, state)
    run.learner.train()
    for step in range(state.step + 1, plan.steps + 1):
        began = time.monotonic()
        data = run.feed.step(step)
        loss = torch.zeros((), device=accelerator.device)
        for batch, last in learning_parts(data.batches, accelerator.device):
            with _gradients(run, exchanged=last):
                # A sum over the tokens of the whole step: how it is cut into micro-batches changes nothing.
                part = run.objective.loss(run.learner, batch) / data.terms
                # Ranks average their gradients, but the terms were counted over all of them.
                accelerator.backward(part * ranks)
            loss += part.detach()
        norm = accelerator.clip_grad_norm_(run.weights.values(), plan.clip)
        # The only moment of a step at which the host waits for the device.
        loss_value, norm_value = torch.stack((total(accelerator, loss), norm)).tolist()
        rate = set_rate(run, step)
        if math.isfinite(loss_value) and math.isfinite(norm_value):  # one bad gradient spoils every weight for good
            run.optimizer.step()
        run.optimizer.zero_grad()
        done = Step(
            loss=loss_value,
            gradient_norm=norm_value,
            learning_rate=rate,
            tokens=data.tokens,
            seconds=time.monotonic() - began,
        )
        state = advance(state, done)
        pace.report(work, state, done)

        stopping = any_rank(accelerator, work.stop.requested)
        if not stopping and _validation_due(plan, state):
            state = validate(run, state)
        if stopping or step == plan.steps or step % plan.save_every == 0 or any_rank(accelerator, clock.overdue):
            state = clock.charge(state)
            save(run, state)
        if stopping:
            raise Interrupted(
                f"The job was asked to stop and saved step {step}.", hint="Resume the job to continue it."
            )
    return state


@contextmanager
def _gradients(run: Run, *, exchanged: bool) -> Iterator[None]:
    """Gradients pass between ranks at the last micro-batch of a step only."""
    context: AbstractContextManager[None] = nullcontext() if exchanged else run.accelerator.no_sync(run.learner)
    with context:
        yield


def set_rate(run: Run, step: int) -> float:
    """Give the optimizer the learning rate of a step. It is not left to a scheduler that ``accelerate`` would drive."""
    plan = run.plan
    rate = plan.learning_rate * rate_factor(plan.schedule, step, steps=plan.steps, warmup=plan.warmup)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    return rate


@torch.no_grad()
def validate(run: Run, state: State) -> State:
    """The loss over the validation examples; nothing about the training changes."""
    state = replace(state, validated_at=state.step)
    if not len(run.feed.examples.validation):
        return state
    run.network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=run.accelerator.device)
    for batch in run.feed.validation():
        loss += run.objective.loss(run.network, batch.to(run.accelerator.device))
    run.network.train()
    mean = float(total(run.accelerator, loss)) / sum(run.feed.examples.validation.counts)
    best = mean if state.best_validation_loss is None else min(mean, state.best_validation_loss)
    run.work.emit(EventType.EVALUATED, step=state.step, loss=mean, best=best)
    return replace(state, best_validation_loss=best)


def _validation_due(plan: TrainingPlan, state: State) -> bool:
    due = state.step > 0 and (state.step % plan.validate_every == 0 or state.step == plan.steps)
    return due and state.validated_at != state.step


def resume(run: Run, found: checkpoint.Checkpoint | None) -> State:
    """Put weights, optimizer and random numbers where the checkpoint has them; without one, seed a fresh start."""
    rank = run.accelerator.process_index
    if found is None:
        seed_all(run.plan.seed + rank)
        return State()
    run.work.phase(f"continuing after step {found.state.step}")
    with torch.no_grad():
        for name, weight in run.weights.items():
            weight.copy_(found.tensors["weights"][name])
    restore_optimizer(run.optimizer, run.weights, found.tensors["optimizer"])
    prefix = f"{rank}."
    rng = found.tensors["rng"]
    own = {name.removeprefix(prefix): value for name, value in rng.items() if name.startswith(prefix)}
    if own:
        restore_rng(own, run.accelerator.device)
    else:  # saved by fewer ranks
        seed_all(run.plan.seed + rank + found.state.step)
    return found.state


def save(run: Run, state: State) -> None:
    """Commit a checkpoint and remove the oldest; ranks other than 0 only tell their random numbers."""
    everyones = gather(run.accelerator, rng_tensors(run.accelerator.device))
    if run.accelerator.is_main_process:
        rng = {f"{rank}.{name}": value for rank, one in enumerate(everyones) for name, value in one.items()}
        weights = {name: weight.detach().cpu() for name, weight in run.weights.items()}
        optimizer = {name: value.cpu() for name, value in optimizer_tensors(run.optimizer, run.weights).items()}
        folder = run.work.folder.checkpoints
        path = checkpoint.save(folder, run.fingerprint, state, {"weights": weights, "optimizer": optimizer, "rng": rng})
        run.work.emit(EventType.SAVED, step=state.step, path=str(path))
        checkpoint.rotate(folder, run.keep)
    run.accelerator.wait_for_everyone()
