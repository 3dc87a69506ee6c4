"""Optimisers: parameter groups with their own rates, and a state that goes to arrays and back."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sortal.recipe import Optimizer, Recipe

QUINTIC, STEPS, SMALLEST = (3.4445, -4.775, 2.0315), 3, 1e-7
"""Of the Newton-Schulz iteration: its coefficients, its steps (as in airbench, where torch takes five), the smallest norm."""

Group = dict[str, Any]


def make_optimizer(recipe: Recipe, model: nn.Module, depths: Mapping[str, int]) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trainable parameters, one group for each way they are treated.

    `depths` gives each parameter's distance from the head in blocks (0: the head itself); a group's 'scale' is what its
    learning rate is a multiple of: `layer_decay ** depth`, and `thawed_rate` times that for the body of a staged training.
    """
    listed = _groups(recipe, model, depths)
    spec, rate = recipe.optimizer, recipe.learning_rate
    if spec.name == "muon":
        return Muon(
            [each for each in listed if each["matrices"]], [each for each in listed if not each["matrices"]], spec, rate
        )
    for each in listed:
        each.pop("matrices")
    match spec.name:
        case "sgd":
            return _sgd(listed, rate, spec.momentum, nesterov=spec.nesterov)
        case "adam":
            return torch.optim.Adam(listed, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(listed, lr=rate, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(listed, lr=rate, momentum=spec.momentum)  # torch has no fused one
        case "lbfgs":
            raise AssertionError("a head that is solved for has a session of its own")


def _groups(recipe: Recipe, model: nn.Module, depths: Mapping[str, int]) -> list[Group]:
    """Parameters by scale, decay, and whether Muon moves them."""
    spec = recipe.optimizer
    groups: dict[tuple[float, float, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue  # frozen to the end: no state is held for it
        depth = depths[name]
        scale = spec.layer_decay**depth
        if recipe.strategy == "staged" and depth > 0:
            scale *= recipe.schedule.thawed_rate
        # Decay shrinks weights that multiply inputs; norms and biases only shift and scale them (He et al. 2019).
        decay = spec.weight_decay if parameter.ndim > 1 or spec.decay_all else 0.0
        matrix = spec.name == "muon" and depth > 0 and parameter.ndim > 1 and parameter.shape[0] > 1
        if spec.name == "muon" and not matrix:
            scale *= spec.rest_rate
        if depth > 0 and name.endswith(".bias") and spec.bias_rate != 1:
            scale, decay = scale * spec.bias_rate, decay / spec.bias_rate
        groups.setdefault((scale, decay, matrix), []).append(parameter)
    return [
        {"params": params, "scale": scale, "weight_decay": decay, "matrices": matrix}
        for (scale, decay, matrix), params in groups.items()
    ]


def _sgd(groups: list[Group], rate: float, momentum: float, *, nesterov: bool) -> torch.optim.SGD:
    sgd = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=True)
    if momentum:
        # The fused kernel wants a buffer for all of a group or for none, and of layers that thaw one by one some have
        # none yet. From zeros the first step is the one that it takes without.
        for parameter in (parameter for group in sgd.param_groups for parameter in group["params"]):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for matrices and for filters, which are one matrix a layer; SGD for all else (Jordan et al.
    2024, "Muon: an optimizer for hidden layers in neural networks")."""

    def __init__(self, matrices: list[Group], rest: list[Group], spec: Optimizer, rate: float) -> None:
        self.momentum, self.fixed_norm = spec.momentum, spec.fixed_norm
        self.matrices = matrices
        self.rest = _sgd(rest, rate, spec.rest_momentum, nesterov=True)  # the head is always there
        super().__init__([*matrices, *rest], {"lr": rate})
        self.state.update(self.rest.state)
        self.rest.state = self.state  # one state, so that it is saved and restored as any other's

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no loss is given back
        assert closure is None, "gradients are there already"
        for group in self.matrices:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            weights = [_matrix(parameter, parameter) for parameter in moved]
            buffers = [_matrix(self._buffer(parameter), parameter) for parameter in moved]
            gradients = [_matrix(parameter.grad, parameter) for parameter in moved]
            # torch's own names for many tensors at once: on an accelerator it is the number of calls that takes the time.
            torch._foreach_lerp_(buffers, gradients, 1 - self.momentum)
            ahead = torch._foreach_lerp(gradients, buffers, self.momentum)  # Nesterov's
            if self.fixed_norm:
                norms = torch._foreach_norm(weights)
                torch._foreach_mul_(weights, [len(weight) ** 0.5 / norm for weight, norm in zip(weights, norms, strict=True)])
            elif group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            moves = orthogonalised(ahead)
            for move in moves:
                if len(move) > move.shape[1]:  # a step is as large for each output, however few inputs there are (Jordan 2024)
                    move.mul_((len(move) / move.shape[1]) ** 0.5)
            torch._foreach_add_(weights, moves, alpha=-group["lr"])
        self.rest.step()

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each matrix moved towards the orthogonal one nearest to it, in the order and the dtype that they came in.

    The quintic Newton-Schulz iteration of Muon, in bf16: singular values end near 1, not at it. Those of one shape go together.
    """
    found: list[Tensor] = list(matrices)
    places = defaultdict[torch.Size, list[int]](list)
    for place, matrix in enumerate(matrices):
        places[matrix.shape].append(place)
    a, b, c = QUINTIC
    for shape, some in places.items():
        x = torch.stack([matrices[place] for place in some]).to(torch.bfloat16)
        tall = shape[0] > shape[1]
        if tall:
            x = x.mT
        x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=SMALLEST)  # no singular value is above 1
        for _ in range(STEPS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        for place, matrix in zip(some, (x.mT if tall else x).to(matrices[some[0]].dtype).unbind(), strict=True):
            found[place] = matrix
    return found


def _matrix(tensor: Tensor, like: Tensor) -> Tensor:
    """One row for each output, as a view where the memory of both is laid out alike; columns in the order of `like`'s."""
    tensor = tensor.detach()
    in_channels = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return (tensor.permute(0, 2, 3, 1) if in_channels else tensor).reshape(len(tensor), -1)


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
