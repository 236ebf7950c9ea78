"""AdamW over the weights that change, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import AdamW

from appliance.errors import CorruptFolder
from appliance.training.plan import TrainingPlan


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that change, by name: matrices first, because only they are decayed."""
    found = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return dict(sorted(found, key=lambda pair: pair[1].ndim < 2))


def make_optimizer(weights: Mapping[str, nn.Parameter], plan: TrainingPlan) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), fused; vectors such as norms and biases are not decayed."""
    matrices = [weight for weight in weights.values() if weight.ndim >= 2]
    vectors = [weight for weight in weights.values() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=plan.learning_rate, fused=True)


def optimizer_tensors(optimizer: AdamW, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state: ``exp_avg/NAME`` and so on; empty before the first step."""
    return {
        f"{key}/{name}": value for name, weight in weights.items() for key, value in optimizer.state[weight].items()
    }


def restore_optimizer(optimizer: AdamW, weights: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor]) -> None:
    """Give the optimizer a saved state. Raises ``CorruptFolder`` when it is another model's."""
    numbers = {name: number for number, name in enumerate(weights)}
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in saved.items():
        key, _, name = full_name.partition("/")
        if name not in numbers:
            raise CorruptFolder(f"The optimizer's state names a weight that this model does not train: {name}.")
        state.setdefault(numbers[name], {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
