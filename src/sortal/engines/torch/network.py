"""The network of a recipe: normalisation, a body that gives features, and a head that gives logits."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sortal.engines.torch.models.body import Body
from sortal.preprocess import Preprocess
from sortal.recipe import Head


class Network(nn.Module):
    """Images in 0..1 of shape (N, C, S, S) to logits (N, K): `head(body((x - mean) / std))`."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: Body, head: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.register_buffer("mean", per_channel(preprocess.mean), persistent=False)
        self.register_buffer("std", per_channel(preprocess.std), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Features of shape (N, D)."""
        features: Tensor = self.body((x - self.mean) / self.std)
        return features

    def depths(self) -> dict[str, int]:
        """Each parameter's distance from the classes, in stages: the head is 0, the body's last stage 1, and so on."""
        depths = {f"head.{name}": 0 for name, _ in self.head.named_parameters()}
        for depth, names in enumerate(reversed(self.body.stages()), start=1):
            depths |= {f"body.{name}": depth for name in names}
        return depths

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


class BodyFromBytes(nn.Module):
    """Features of uint8 images (N, S, S, C), normalisation inside."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(_in_unit_range(images))


class Deployed(nn.Module):
    """A network as it is deployed: uint8 images (N, S, S, C) in, the task's probabilities of logits / temperature out."""

    temperature: Tensor

    def __init__(self, network: Network, probabilities: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.probabilities = probabilities
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.probabilities(self.network(_in_unit_range(images)) / self.temperature)


def _in_unit_range(images_NSSC: Tensor) -> Tensor:
    return images_NSSC.permute(0, 3, 1, 2).to(torch.float32) / 255


def per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


def make_head(head: Head, dimensions: int, classes: int) -> nn.Module:
    """What stands between D features and K logits; initialised by torch's generator as it is."""
    if head.kind == "linear":
        return nn.Sequential(nn.Dropout(head.dropout), nn.Linear(dimensions, classes))
    return nn.Sequential(
        nn.Linear(dimensions, head.hidden), nn.ReLU(), nn.Dropout(head.dropout), nn.Linear(head.hidden, classes)
    )


def images_to_tensor(images_NSSC: "Tensor", *, channels_last: bool) -> Tensor:
    """uint8 (N, S, S, C) to float32 (N, C, S, S) in 0..1, in the memory layout asked for."""
    x = images_NSSC.permute(0, 3, 1, 2)  # a view that is channels-last already
    return x.to(torch.float32, memory_format=torch.channels_last if channels_last else torch.contiguous_format) / 255
