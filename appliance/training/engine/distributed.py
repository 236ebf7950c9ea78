"""The ranks of a job, through ``accelerate``: one process unless the shim started several."""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from appliance.errors import JobFailed
from appliance.training.plan import TrainingPlan


def make_accelerator(plan: TrainingPlan, threads: int) -> Accelerator:
    """Set this process up for its device. Raises ``JobFailed`` when it is not one of as many as were started.

    ``accelerate`` trains alone, silently, when it does not understand how it was launched.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        os.environ.setdefault("LOCAL_RANK", os.environ["RANK"])
    on_cpu = plan.device == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        raise JobFailed(
            f"The job was placed on {plan.device}, but torch sees no CUDA device.",
            hint="`luthier gpu` lists what this machine has.",
        )
    if on_cpu:
        torch.set_num_threads(threads)
    elif ranks == 1:
        torch.cuda.set_device(plan.device)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")  # the network itself knows its precision
    if on_cpu:
        torch.set_num_threads(threads)  # accelerate may have chosen another number
    if accelerator.num_processes != ranks:
        raise JobFailed(f"{ranks} processes were started, and accelerate found {accelerator.num_processes}.")
    return accelerator


def cpu_threads(wanted: int) -> int:
    """``wanted`` threads, or for 0 as many as the processors this process may use; ``OMP_NUM_THREADS`` wins over 0."""
    if wanted > 0:
        return wanted
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdigit() and int(stated) > 0 else len(os.sched_getaffinity(0))


def total(accelerator: Accelerator, value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks."""
    return accelerator.reduce(value, reduction="sum") if accelerator.num_processes > 1 else value


def any_rank(accelerator: Accelerator, flag: bool) -> bool:
    """Whether any rank says so; every rank gets the same answer."""
    if accelerator.num_processes == 1:
        return flag
    return bool(total(accelerator, torch.tensor(float(flag), device=accelerator.device)).item())


def gather(accelerator: Accelerator, value: Any) -> list[Any]:
    """The values of all ranks, in their order."""
    if accelerator.num_processes == 1:
        return [value]
    from accelerate.utils import gather_object

    return list(gather_object([value]))
