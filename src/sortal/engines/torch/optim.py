"""Optimisers: parameter groups with their own rates, and a state that goes to arrays and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sortal.recipe import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module, depths: Mapping[str, int]) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trainable parameters, one group for each (rate, decay) pair.

    `depths` gives each parameter's distance from the head in blocks (0: the head itself); a group's 'scale' is what its
    learning rate is a multiple of: `layer_decay ** depth`, and `thawed_rate` times that for the body of a staged training.
    """
    spec = recipe.optimizer
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue  # frozen to the end: no state is held for it
        depth = depths[name]
        scale = spec.layer_decay**depth
        if recipe.strategy == "staged" and depth > 0:
            scale *= recipe.schedule.thawed_rate
        # Decay shrinks weights that multiply inputs; norms and biases only shift and scale them (He et al. 2019).
        decay = spec.weight_decay if parameter.ndim > 1 or spec.decay_all else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    listed = [{"params": params, "scale": scale, "weight_decay": decay} for (scale, decay), params in groups.items()]
    rate = recipe.learning_rate
    match spec.name:
        case "sgd":
            sgd = torch.optim.SGD(listed, lr=rate, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)
            if spec.momentum:
                # The fused kernel wants a buffer for all of a group or for none, and of layers that thaw one by one some have
                # none yet. From zeros the first step is the one that it takes without.
                for parameter in (parameter for group in sgd.param_groups for parameter in group["params"]):
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd
        case "adam":
            return torch.optim.Adam(listed, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(listed, lr=rate, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(listed, lr=rate, momentum=spec.momentum)  # torch has no fused one
        case "lbfgs":
            raise AssertionError("a head that is solved for has a session of its own")


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group to `rate` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def state_arrays(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, NDArray[Any]]:
    """The optimiser's state as copies, named 'KIND/parameter'; parameters that have not moved yet have none."""
    return {
        f"{kind}/{name}": value.detach().cpu().numpy().copy()
        for name, parameter in model.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_arrays(optimizer: torch.optim.Optimizer, model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `state_arrays` gave."""
    parameters = dict(model.named_parameters())
    for key, array in arrays.items():
        kind, _, name = key.partition("/")
        parameter = parameters[name]
        value = torch.from_numpy(np.array(array))
        # Fused kernels walk the memory of parameter and state side by side, so both must have one layout and one device.
        optimizer.state[parameter][kind] = (
            value.to(parameter.device) if kind == "step" else torch.empty_like(parameter.detach()).copy_(value)
        )
