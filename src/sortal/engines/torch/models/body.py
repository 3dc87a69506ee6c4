"""A body: all of a network before its classes. Normalised images in, features out, in stages that may learn one by one."""

from collections.abc import Mapping

from torch import Tensor, nn


class Body(nn.Module):
    """Images (N, C, S, S) to features (N, D) through named blocks, one after the other. Blocks whose names begin alike up to
    an underscore are one stage."""

    def __init__(self, blocks: Mapping[str, nn.Module], dimensions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.dimensions = dimensions
        """D, the length of a feature vector."""

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


class GlobalPool(nn.Module):
    """Mean over all places: (N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))
