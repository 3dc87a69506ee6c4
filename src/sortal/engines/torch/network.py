"""The network of a recipe: normalisation, a body that gives features, and a head that gives logits."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sortal.engines.torch.cut import Cut
from sortal.engines.torch.models.body import Body
from sortal.evaluation.calibrators import BOTTOM, FLATTEST, Calibrator
from sortal.preprocess import Preprocess
from sortal.recipe import Head

AUXILIARY = "auxiliary."
"""Before the names of tensors that training alone needs."""
Outputs = Tensor | list[tuple[float, Tensor]]
"""Logits (N, K), or in training several of them, each with the weight of its loss in the sum."""
T = TypeVar("T")


class Network(nn.Module):
    """Images in 0..1 of shape (N, C, S, S) to logits (N, K): `head(body((x - mean) / std))`."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: Body, head: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.test_views = "one"
        """The recipe's; `answers` looks at it, a training does not."""
        self.cut: Cut | None = None
        """Where a training on stored outputs begins; without it all begins at the images."""
        self.register_buffer("mean", per_channel(preprocess.mean), persistent=False)
        self.register_buffer("std", per_channel(preprocess.std), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Features of shape (N, D): of images, or of what `before_cut` gave for them."""
        if self.cut is not None:
            return self.cut.after(self.body, x)
        features: Tensor = self.body(self.normalised(x))
        return features

    def before_cut(self, x: Tensor) -> Tensor:
        """What images are where the network is cut; without a cut that is their features."""
        if self.cut is not None:
            return self.cut.before(self.body, self.normalised(x))
        return self.features(x)

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of images as a bundle gives them, the weighted mean over all views, and features (N, D) as they are."""
        (own, image), *others = VIEWS[self.test_views](x)
        features = self.features(image)
        logits: Tensor = self.head(features)
        if others:
            # One after the other: together they are as much arithmetic and several times the memory.
            logits = torch.stack([own * logits, *(weight * self.head(self.features(view)) for weight, view in others)]).sum(0)
        return logits, features

    def normalised(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def depths(self) -> dict[str, int]:
        """Each parameter's distance from the classes, in blocks: the head is 0, the body's last block 1, and so on."""
        depths = {f"head.{name}": 0 for name, _ in self.head.named_parameters()}
        for depth, names in enumerate(reversed(self.body.layers()), start=1):
            depths |= {f"body.{name}": depth for name in names}
        return depths

    def forward(self, x: Tensor) -> Outputs:
        logits: Tensor = self.head(self.features(x))
        return logits


class NetworkInTraining(Network):
    """A network whose body has taps, with a classifier at each; in evaluation it is the network without them."""

    def __init__(self, body: Body, head: nn.Module, preprocess: Preprocess, classes: int) -> None:
        super().__init__(body, head, preprocess)
        self.auxiliary = nn.ModuleList(tap.make(classes) for tap in body.taps)

    def depths(self) -> dict[str, int]:
        """As of the network; auxiliary classifiers learn like the head."""
        return super().depths() | {f"{AUXILIARY}{name}": 0 for name, _ in self.auxiliary.named_parameters()}

    def forward(self, x: Tensor) -> Outputs:
        # While the body is frozen there is nothing for them to pull on. And a lone image has no batch statistics where
        # Inception's classifier has shrunk its maps to one place.
        if not self.body.training or len(x) == 1:
            return super().forward(x)
        features, maps = self.body.tapped(self.normalised(x))
        outputs: list[tuple[float, Tensor]] = [(1.0, self.head(features))]
        for tap, classifier, map_NCHW in zip(self.body.taps, self.auxiliary, maps, strict=True):
            outputs.append((tap.weight, classifier(map_NCHW)))
        return outputs


def shipped(tensors: dict[str, T]) -> dict[str, T]:
    """Those that evaluation needs."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(AUXILIARY)}


class FrozenFromBytes(nn.Module):
    """What the frozen part gives for uint8 images (N, S, S, C), normalisation inside."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.before_cut(_in_unit_range(images))


class FromBytes(nn.Module):
    """A whole network for uint8 images (N, S, S, C), normalisation inside: logits (N, K) and features (N, D)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.answers(_in_unit_range(images))


class Deployed(nn.Module):
    """A network as it is deployed: uint8 images (N, S, S, C) in, calibrated probabilities (N, K) out."""

    scale: Tensor
    bias: Tensor
    knots: Tensor
    bends: Tensor
    values: Tensor

    def __init__(self, network: Network, calibrator: Calibrator) -> None:
        super().__init__()
        self.network = network
        self.activation = calibrator.activation
        numbers = {"scale": calibrator.scale_K, "bias": calibrator.bias_K, "knots": calibrator.knots_M}
        numbers |= {"bends": calibrator.bends_M, "values": calibrator.values_M}
        for name, array in numbers.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.calibrated(self.network.answers(_in_unit_range(images))[0])

    def calibrated(self, logits: Tensor) -> Tensor:
        """Probabilities of logits, both (N, K)."""
        logits = logits * self.scale + self.bias
        if len(self.knots):
            logits = self._rising(
                torch.log_softmax(logits, dim=1).clamp(min=BOTTOM) if self.activation == "softmax" else logits
            )
        return torch.softmax(logits, dim=1) if self.activation == "softmax" else torch.sigmoid(logits)

    def _rising(self, x: Tensor) -> Tensor:
        line = self.values[0] + FLATTEST * (x - self.knots[0])
        return line + (torch.relu(x.unsqueeze(2) - self.knots) * self.bends).sum(dim=2)


def _as_it_is(images: Tensor) -> list[tuple[float, Tensor]]:
    return [(1.0, images)]


def _mirror(images: Tensor) -> list[tuple[float, Tensor]]:
    return [(0.5, images), (0.5, images.flip(-1))]


def _mirror_and_shift(images: Tensor) -> list[tuple[float, Tensor]]:
    """Six views: the image counts as much as its two shifted copies together, and each of them is seen mirrored too.

    airbench's (Jordan 2024), with what a shift uncovers mirrored at the border.
    """
    height, width = images.shape[-2:]
    padded = functional.pad(images, (1, 1, 1, 1), "reflect")
    moved = [padded[..., :height, :width], padded[..., 2:, 2:]]
    views = [(0.5, images), *((0.25, view) for view in moved)]
    return [(weight * half, turned) for weight, view in views for half, turned in _mirror(view)]


VIEWS: dict[str, Callable[[Tensor], list[tuple[float, Tensor]]]] = {
    "one": _as_it_is,
    "mirror": _mirror,
    "mirror_and_shift": _mirror_and_shift,
}
"""From images to what the network sees of each, with the weight of each view's logits; by the recipe's `test_views`."""


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
