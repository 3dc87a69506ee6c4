"""Compact networks for small images from scratch: few layers, early pooling, made for accuracy per second of training.

In the line of ResNet-9 (Page 2018) and airbench (Jordan 2024): convolutions without bias, pooling before the norm so that
less is computed after it, one short residual branch a stage, the strongest response of each map as its feature, and features
scaled down so that the classes' logits start small.
"""

from itertools import pairwise

from torch import Tensor, nn

from sortal.engines.torch.models.body import Body

FEATURE_SCALE = 0.25
"""Of the pooled responses: maxima of normalised maps are near 2 to 4, and a head learns calmly from features near 1."""
LARGE = 48
"""Pixels from which on the stem halves the image, so that the last maps stay about 4 x 4."""


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

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(dim=(2, 3)) * FEATURE_SCALE


def compact(channels: int, size: int) -> Body:
    """32, 64, 128 and 256 maps: 1.2 million weights, 64 million multiply-adds at 28 x 28."""
    return _compact(channels, size, (32, 64, 128, 256))


def compact_s(channels: int, size: int) -> Body:
    """Half as wide as `compact`, a quarter of its work: for seconds rather than minutes on a processor."""
    return _compact(channels, size, (16, 32, 64, 128))


def compact_l(channels: int, size: int) -> Body:
    """Twice as wide as `compact`, four times its work: for an accelerator, or where the last tenth of a point counts."""
    return _compact(channels, size, (64, 128, 256, 512))


def _compact(channels: int, size: int, widths: tuple[int, int, int, int]) -> Body:
    stride = 2 if size >= LARGE else 1
    if size < 8 * stride:
        raise ValueError("three poolings leave nothing of the image")
    stem = nn.Sequential(
        nn.Conv2d(channels, widths[0], 3, stride, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
    )
    stages = {f"stage{n}": Stage(before, after) for n, (before, after) in enumerate(pairwise(widths), 1)}
    return Body({"stem": stem, **stages, "pool": StrongestResponse()}, dimensions=widths[-1])
