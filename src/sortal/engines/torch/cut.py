"""Cutting a network in two: the part that stays frozen, and the rest, which is trained on what the first part gives.

Nothing is assumed about the architecture. One image goes through it, and what is seen are the modules that hand one tensor on,
each taking the very one that the module before it gave, up to the end; between two of those a network can be cut. That the two
parts together give what the whole gives, and that all that is to learn stands in the second, is tried out before it is used.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from sortal.engines.torch.models.body import Body
from sortal.errors import NotSupported

TOLERANCE = 1e-4
"""Largest difference between the features of a cut network and of the whole, as a share of the largest feature."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A place between two modules of a body."""

    rest: tuple[str, ...]
    """Names of the modules after it, in the order in which they work; `Body.finish` comes after them."""

    @property
    def name(self) -> str:
        """What stands after the cut."""
        return self.rest[0] if self.rest else "the last maps"

    def before(self, body: Body, x: Tensor) -> Tensor:
        """From images to what stands at the cut."""
        if not self.rest:
            return body.maps(x)
        handle = body.get_submodule(self.rest[0]).register_forward_pre_hook(_stop)
        try:
            body.maps(x)
        except _Reached as reached:
            return reached.value
        finally:
            handle.remove()
        raise AssertionError(f"{self.rest[0]} was never reached")

    def after(self, body: Body, x: Tensor) -> Tensor:
        """From what stands at the cut to features."""
        for name in self.rest:
            x = body.get_submodule(name)(x)
        return body.finish(x)


class _Reached(Exception):
    """Ends a computation at the cut, and carries what stands there."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def _stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> NoReturn:
    raise _Reached(inputs[0])


def find_cut(body: Body, learning: Collection[str], images: Tensor) -> Cut:
    """The last place of a body with none of the parameters called `learning` before it; `images` are tried out on it.

    Raises `NotSupported` where there is no such place, or nothing before it.
    """
    was_training = body.training
    body.eval()
    try:
        cut, whole = _last_place(body, learning, images)
        with torch.no_grad():
            maps = cut.before(body, images)
        _require_equal(body, cut, learning, maps, whole)
    finally:
        body.train(was_training)
    return cut


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    inputs: tuple[Any, ...]
    output: Any


def _last_place(body: Body, learning: Collection[str], images: Tensor) -> tuple[Cut, Tensor]:
    """The cut, and the features that the whole body gives for the images."""
    calls: list[_Call] = []

    def record(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            calls.append(_Call(name, (*args, *kwargs.values()), output))

        return hook

    handles = [
        module.register_forward_hook(record(name), with_kwargs=True) for name, module in _steps(_trunk(body), _trunk_name(body))
    ]
    try:
        with torch.no_grad():
            maps = body.maps(images)
            maps_calls = list(calls)
            whole = body.finish(maps)
    finally:
        for handle in handles:
            handle.remove()
    chain = _chain(maps_calls, maps)
    first = next((place for place, name in enumerate(chain) if _any_in(name, learning)), len(chain))
    if not maps_calls or chain[first : first + 1] == [maps_calls[0].name]:
        raise NotSupported("its first layers are trained, so there is nothing before them to store")
    return Cut(tuple(chain[first:])), whole


def _trunk_name(body: Body) -> str:
    return next(name for name, child in body.named_children() if any(True for _ in child.parameters()))


def _trunk(body: Body) -> nn.Module:
    return body.get_submodule(_trunk_name(body))


def _steps(module: nn.Module, place: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules as steps of a computation: containers that only hold others, or run them in turn, are looked into."""
    for key, child in module.named_children():
        holds = type(child) in (nn.ModuleList, nn.ModuleDict) or type(child).forward is nn.Sequential.forward
        yield from _steps(child, f"{place}.{key}") if holds else [(f"{place}.{key}", child)]


def _chain(calls: list[_Call], end: Tensor) -> list[str]:
    """Names of the longest row of calls up to the end of which each took one tensor, the one that the call before it gave."""
    names: list[str] = []
    once = {call.name for call in calls if sum(other.name == call.name for other in calls) == 1}
    for call in reversed(calls):
        if call.output is not end or len(call.inputs) != 1 or call.name not in once:
            break
        names.append(call.name)
        end = call.inputs[0]
    return names[::-1]


def _any_in(module: str, parameters: Collection[str]) -> bool:
    return any(name.startswith(f"{module}.") for name in parameters)


def _require_equal(body: Body, cut: Cut, learning: Collection[str], maps: Tensor, whole: Tensor) -> None:
    """Raise `NotSupported` unless the parts give what the whole gave and every parameter that learns gets its gradient."""
    named = dict(body.named_parameters())
    learns = [named[name] for name in learning]
    was = [parameter.requires_grad for parameter in learns]
    for parameter in learns:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            parts = cut.after(body, maps)
            if not parts.requires_grad:
                raise NotSupported("what is to learn works outside of the layers that can be cut off")
            gradients = torch.autograd.grad(parts.sum(), learns, allow_unused=True)
    finally:
        for parameter, before in zip(learns, was, strict=True):
            parameter.requires_grad_(before)
    outside = [name for name, gradient in zip(learning, gradients, strict=True) if gradient is None]
    if outside:
        raise NotSupported(f"{outside[0]} is to learn and works outside of the layers that can be cut off")
    difference = float((parts.detach() - whole).abs().max() / whole.abs().max().clamp(min=1e-12))
    if not difference <= TOLERANCE:
        raise NotSupported(f"cut before {cut.name} it gives other features, by up to {difference:.2g} of the largest")
