"""Plain convolutional networks from tutorials: three blocks of two 3x3 convolutions and a pooling, then a classifier."""

from typing import Any

from torch import nn

from sortal.engines.torch.models.body import Body, GlobalPool

KERAS_NORM: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}  # Keras's batch norm, whose momentum 0.99 is what torch calls 0.01


def simple_cnn(channels: int, size: int) -> Body:
    """Seed 000's SimpleCNN: 64, 128 and 256 maps, then their means. Its dropout of 0.5 is the recipe's `head.dropout`."""
    del size  # global pooling takes any
    blocks: dict[str, nn.Module] = {}
    for number, (before, after) in enumerate(((channels, 64), (64, 128), (128, 256)), start=1):
        blocks[f"block{number}"] = nn.Sequential(
            *_conv_norm_relu(before, after), *_conv_norm_relu(after, after), nn.MaxPool2d(2)
        )
    return Body(blocks | {"pool": GlobalPool()}, dimensions=256)


def cifar10_cnn(channels: int, size: int) -> Body:
    """Seed 002's CIFAR10CNN: as `simple_cnn` with whole maps dropped at 0.25, and a dense layer of 512."""
    side = _third_half(size)
    blocks: dict[str, nn.Module] = {}
    for number, (before, after) in enumerate(((channels, 64), (64, 128), (128, 256)), start=1):
        blocks[f"block{number}"] = nn.Sequential(
            *_conv_norm_relu(before, after), *_conv_norm_relu(after, after), nn.MaxPool2d(2), nn.Dropout2d(0.25)
        )
    blocks["dense"] = nn.Sequential(nn.Flatten(), nn.Linear(256 * side * side, 512), nn.ReLU(inplace=True))
    return Body(blocks, dimensions=512)


def keras_cnn(channels: int, size: int) -> Body:
    """Seed 001's network from scratch: 32, 64 and 128 maps, ReLU before batch norm, dropout 0.25, dense 512.

    Starts as Keras does: Glorot's uniform weights, zero biases, its batch norm's constants. At 224 pixels the dense layer
    alone has 51 million weights. The dropout of 0.5 before the classes is the recipe's `head.dropout`.
    """
    side = _third_half(size)
    blocks: dict[str, nn.Module] = {}
    for number, (before, after) in enumerate(((channels, 32), (32, 64), (64, 128)), start=1):
        blocks[f"block{number}"] = nn.Sequential(
            *_conv_relu_norm(before, after), *_conv_relu_norm(after, after), nn.MaxPool2d(2), nn.Dropout(0.25)
        )
    blocks["dense"] = nn.Sequential(
        nn.Flatten(), nn.Linear(128 * side * side, 512), nn.ReLU(inplace=True), nn.BatchNorm1d(512, **KERAS_NORM)
    )
    body = Body(blocks, dimensions=512)
    start_as_keras(body)
    return body


def start_as_keras(body: nn.Module) -> None:
    """Glorot's uniform weights and zero biases (Glorot and Bengio 2010), what Keras does unless told."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _conv_norm_relu(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def _conv_relu_norm(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(after, **KERAS_NORM)


def _third_half(size: int) -> int:
    """Side of the maps after three poolings."""
    if size < 8:
        raise ValueError("three poolings leave nothing of the image")
    return size // 8
