"""Compact networks for small images from scratch: few layers, early pooling, made for accuracy per second of training.

In the line of ResNet-9 (Page 2018) and airbench (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU"):
convolutions without bias, pooling before the norm so that less is computed after it, the strongest response of each map as its
feature, and features scaled down so that the classes' logits start small. `compact` has a shortcut in each stage; `brisk` is
airbench's own network, whose first layer has room for the filters that whiten patches (`start.whiten`), and `brisk_r` has both.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sortal.engines.torch.models.body import Body

FEATURE_SCALE = 0.25
"""Of the pooled responses: maxima of normalised maps are near 2 to 4, and a head learns calmly from features near 1."""
BRISK_SCALE = 1 / 9
"""The same for brisk, as in airbench."""
LARGE = 48
"""Pixels from which on the sides are halved once more, so that the last maps stay about 4 x 4."""
PATCH = {1: 3, 3: 2}
"""Sides of the patches that brisk's first layer sees, by channels: 9 numbers of a grey patch, 12 of one in colour."""


class Stage(nn.Module):
    """Convolution, pooling by 2, norm; then a convolution beside a shortcut. Halves the sides."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.shrink = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        )
        self.refine = nn.Sequential(
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.shrink(x)
        result: Tensor = x + self.refine(x)
        return result


class StrongestResponse(nn.Module):
    """Maximum over all places, scaled: (N, C, H, W) to (N, C)."""

    def __init__(self, scale: float = FEATURE_SCALE) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(dim=(2, 3)) * self.scale


class ShiftNorm(nn.BatchNorm2d):
    """Batch norm that shifts and does not scale, and whose statistics follow closely: 0.4 of each batch."""

    def __init__(self, maps: int) -> None:
        super().__init__(maps, eps=1e-12, momentum=0.4)
        self._parameters.pop("weight")
        self.register_buffer("weight", torch.ones(maps), persistent=False)


class BriskStage(nn.Module):
    """Convolution, pooling by 2, norm; convolution, norm. Halves the sides."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm1 = ShiftNorm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = ShiftNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.refined(self.halved(x))

    def halved(self, x: Tensor) -> Tensor:
        return functional.gelu(self.norm1(functional.max_pool2d(self.conv1(x), 2)))

    def refined(self, x: Tensor) -> Tensor:
        return functional.gelu(self.norm2(self.conv2(x)))


class BriskResidualStage(BriskStage):
    """The same with a third convolution, and a shortcut past the second and the third."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after)
        self.conv3 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm3 = ShiftNorm(after)

    def refined(self, x: Tensor) -> Tensor:
        return functional.gelu(x + self.norm3(self.conv3(super().refined(x))))


def compact(channels: int, size: int) -> Body:
    """32, 64, 128 and 256 maps: 1.2 million weights, 64 million multiply-adds at 28 x 28."""
    return _compact(channels, size, (32, 64, 128, 256))


def compact_s(channels: int, size: int) -> Body:
    """Half as wide as `compact`, a quarter of its work: for seconds rather than minutes on a processor."""
    return _compact(channels, size, (16, 32, 64, 128))


def compact_l(channels: int, size: int) -> Body:
    """Twice as wide as `compact`, four times its work: for an accelerator, or where the last tenth of a point counts."""
    return _compact(channels, size, (64, 128, 256, 512))


def brisk(channels: int, size: int) -> Body:
    """airbench's 64, 256 and 256 maps: 2 million weights, 118 million multiply-adds at 32 x 32 in colour."""
    return _brisk(channels, size, (64, 256, 256))


def brisk_s(channels: int, size: int) -> Body:
    """Half as wide as `brisk`, less than a third of its work: for a first model on a processor."""
    return _brisk(channels, size, (32, 128, 128))


def brisk_l(channels: int, size: int) -> Body:
    """128, 384 and 512 maps, the widths of airbench's network for 96%: about three times brisk's work."""
    return _brisk(channels, size, (128, 384, 512))


def brisk_r(channels: int, size: int) -> Body:
    """`brisk` with a third convolution and a shortcut in each stage, as airbench's network for 96% has them."""
    return _brisk(channels, size, (64, 256, 256), stage=BriskResidualStage)


def _brisk(channels: int, size: int, widths: tuple[int, int, int], *, stage: type[BriskStage] = BriskStage) -> Body:
    patch = PATCH[channels]
    filters = 2 * channels * patch**2  # each direction in which patches vary, and its negative
    stages = (filters, widths[0] // 2, *widths) if size >= LARGE else (filters, *widths)
    if (size - patch + 1) >> (len(stages) - 1) < 1:
        raise ValueError("the poolings leave nothing of the image")
    stem = nn.Sequential(nn.Conv2d(channels, filters, patch), nn.GELU())
    blocks = {f"stage{n}": stage(before, after) for n, (before, after) in enumerate(pairwise(stages), 1)}
    return Body({"stem": stem, **blocks, "pool": StrongestResponse(BRISK_SCALE)}, dimensions=widths[-1])


def _compact(channels: int, size: int, widths: tuple[int, int, int, int]) -> Body:
    stride = 2 if size >= LARGE else 1
    if size < 8 * stride:
        raise ValueError("three poolings leave nothing of the image")
    stem = nn.Sequential(
        nn.Conv2d(channels, widths[0], 3, stride, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
    )
    stages = {f"stage{n}": Stage(before, after) for n, (before, after) in enumerate(pairwise(widths), 1)}
    return Body({"stem": stem, **stages, "pool": StrongestResponse()}, dimensions=widths[-1])
