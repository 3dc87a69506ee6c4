"""Residual networks for small images (He et al. 2016): no large first kernel, no early pooling, three stages."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sortal.engines.torch.models.body import Body, GlobalPool
from sortal.engines.torch.models.plain import KERAS_NORM, start_as_keras


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; where shape changes, the shortcut is a 1x1 convolution with its own norm."""

    def __init__(self, before: int, after: int, stride: int, *, bias: bool, norm: Mapping[str, Any]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(after, **norm)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=bias)
        self.bn2 = nn.BatchNorm2d(after, **norm)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=bias), nn.BatchNorm2d(after, **norm))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(inner + self.shortcut(x))
        return result


def resnet_cifar(channels: int, size: int) -> Body:
    """Seed 000's ResNetCIFAR: two blocks each at 64, 128 and 256 maps."""
    del size  # global pooling takes any
    return _residual(channels, blocks=2, bias=False, norm={})


def resnet_333(channels: int, size: int) -> Body:
    """Seed 004's Keras network: three blocks each at 64, 128 and 256 maps, biases in all convolutions, started as in Keras.

    Its loops run 3, 2 and 2 times because the first block of the later stages stands before the loop: 3-3-3 in all, neither
    the ResNet-18 beside it nor a ResNet of He et al. Where Keras pads strided convolutions on one side, torch pads both.
    """
    del size  # global pooling takes any
    body = _residual(channels, blocks=3, bias=True, norm=KERAS_NORM)
    start_as_keras(body)
    return body


def _residual(channels: int, *, blocks: int, bias: bool, norm: Mapping[str, Any]) -> Body:
    stem = nn.Sequential(nn.Conv2d(channels, 64, 3, 1, 1, bias=bias), nn.BatchNorm2d(64, **norm), nn.ReLU(inplace=True))
    named: dict[str, nn.Module] = {"stem": stem}
    for stage, (before, after) in enumerate(((64, 64), (64, 128), (128, 256)), start=1):
        for number in range(1, blocks + 1):
            first = number == 1
            named[f"stage{stage}_{number}"] = ResidualBlock(
                before if first else after, after, 2 if first and stage > 1 else 1, bias=bias, norm=norm
            )
    return Body(named | {"pool": GlobalPool()}, dimensions=256)
