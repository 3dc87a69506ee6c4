"""A body: all of a network before its classes. Normalised images in, features out, in stages that may learn at own rates."""

from collections.abc import Mapping

from torch import Tensor, nn


class Body(nn.Module):
    """Images (N, C, S, S) to features (N, D) through named blocks, one after the other; each block is a stage."""

    def __init__(self, blocks: Mapping[str, nn.Module], dimensions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.dimensions = dimensions
        """D, the length of a feature vector."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks.values():
            x = block(x)
        return x

    def stages(self) -> list[list[str]]:
        """Names of parameters, from the input towards the head, those that should learn alike together."""
        named = [[f"blocks.{key}.{name}" for name, _ in block.named_parameters()] for key, block in self.blocks.items()]
        return [names for names in named if names]


class GlobalPool(nn.Module):
    """Mean over all places: (N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))
