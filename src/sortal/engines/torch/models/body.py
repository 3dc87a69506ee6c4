"""A body: all of a network before its classes. Normalised images in, features out, in stages that may learn one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Tap:
    """A place half-way up a body whose maps are classified too while it is trained (Szegedy et al. 2015)."""

    place: str
    """The module of the body that gives the maps."""
    weight: float
    """Of this classifier's loss in the sum; that of the head is 1."""
    file_prefix: str
    """What such a classifier is called in the library's own files of weights, where it is left out."""
    make: Callable[[int], nn.Module]
    """From a number of classes to a module from maps (N, C, H, W) to logits (N, K)."""


class Body(nn.Module):
    """Images (N, C, S, S) to features (N, D) through named blocks, one after the other. Blocks whose names begin alike up to
    an underscore are one stage."""

    def __init__(self, blocks: Mapping[str, nn.Module], dimensions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.dimensions = dimensions
        """D, the length of a feature vector."""
        self.taps: Sequence[Tap] = ()
        """Where auxiliary classifiers listen in training; most networks have none."""
        self.fresh: frozenset[str] = frozenset()
        """Names of tensors that keep their random start when pretrained weights are loaded."""

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.maps(x))

    def maps(self, x: Tensor) -> Tensor:
        """All up to what `finish` makes features of."""
        for block in self.blocks.values():
            x = block(x)
        return x

    def finish(self, x: Tensor) -> Tensor:
        """Features (N, D) of the last maps."""
        return x

    def tapped(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features, and the maps at each tap."""
        maps: list[Tensor] = []
        hooks = [
            self.get_submodule(tap.place).register_forward_hook(lambda module, inputs, output: maps.append(output))
            for tap in self.taps
        ]
        try:
            features: Tensor = self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return features, maps

    def layers(self) -> list[list[str]]:
        """Names of parameters, block by block from the input towards the head; each may learn at a rate of its own."""
        named = [[f"blocks.{key}.{name}" for name, _ in block.named_parameters()] for key, block in self.blocks.items()]
        return [names for names in named if names]

    def stages(self) -> list[list[str]]:
        """Names of parameters, stage by stage from the input towards the head: the parts that are frozen and thawed."""
        grouped: dict[str, list[str]] = {}
        for names in self.layers():
            grouped.setdefault(names[0].split(".")[1].partition("_")[0], []).extend(names)
        return list(grouped.values())


class LibraryBody(Body):
    """A library's network that gives its pooled features; its tensors have the library's own names after 'net.'."""

    def __init__(self, net: nn.Module, image_size: int) -> None:
        super().__init__({}, dimensions=0)
        self.net = net
        self.image_size = image_size

    def maps(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features


class GlobalPool(nn.Module):
    """Mean over all places: (N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class PoolTo(nn.Module):
    """Means over a grid of `side` x `side` windows, the numbers of torch's adaptive average pooling.

    As two matrix products, since ONNX has no adaptive pooling where sides do not divide, and torch's own has no gradient
    that repeats itself on an accelerator.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[-2]), int(x.shape[-1])
        if (height, width) == (self.side, self.side):
            return x
        return self._windows(height, x) @ x @ self._windows(width, x).T

    def _windows(self, length: int, like: Tensor) -> Tensor:
        """Matrix (side, length) whose rows average one window each."""
        rows = torch.zeros(self.side, length)
        for row in range(self.side):
            first, last = row * length // self.side, -(-(row + 1) * length // self.side)
            rows[row, first:last] = 1 / (last - first)
        return rows.to(like)
