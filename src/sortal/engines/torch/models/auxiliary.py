"""Auxiliary classifiers of GoogLeNet and Inception-v3: they pull on the middle of the network in training, and then go.

Weights of their losses as published: 0.3 each (Szegedy et al. 2015, 'Going deeper with convolutions'), 0.4 (Szegedy et al.
2016, 'Rethinking the Inception architecture', as in the authors' code).
"""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from sortal.engines.torch.models.body import PoolTo, Tap

PUBLISHED_SIDE = 17
"""Of the maps that Inception-v3 classifies at 299 pixels."""


def googlenet_taps() -> tuple[Tap, ...]:
    """After the first and the fourth module of the third stage."""
    return (
        Tap("net.inception4a", 0.3, "aux1.", partial(_googlenet_classifier, 512)),
        Tap("net.inception4d", 0.3, "aux2.", partial(_googlenet_classifier, 528)),
    )


def inception_v3_taps() -> tuple[Tap, ...]:
    """Before the last reduction of the maps."""
    return (Tap("net.Mixed_6e", 0.4, "AuxLogits.", _inception_v3_classifier),)


def _googlenet_classifier(maps: int, classes: int) -> nn.Module:
    return nn.Sequential(
        PoolTo(4),
        *_conv_norm_relu(maps, 128, 1),
        nn.Flatten(),
        nn.Linear(128 * 4 * 4, 1024),
        nn.ReLU(inplace=True),
        nn.Dropout(0.7),
        nn.Linear(1024, classes),
    )


def _inception_v3_classifier(classes: int) -> nn.Module:
    last = nn.Linear(768, classes)
    nn.init.trunc_normal_(last.weight, std=0.001)
    return nn.Sequential(
        _FivePlaces(), *_conv_norm_relu(768, 128, 1), *_conv_norm_relu(128, 768, 5), PoolTo(1), nn.Flatten(), last
    )


class _FivePlaces(nn.Module):
    """Maps of 5 x 5, as the 5x5 convolution after them needs: by the published pooling, or of smaller maps by even windows."""

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) >= PUBLISHED_SIDE:
            return functional.avg_pool2d(x, kernel_size=5, stride=3)
        result: Tensor = PoolTo(5)(x)
        return result


def _conv_norm_relu(before: int, after: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, kernel, bias=False), nn.BatchNorm2d(after, eps=1e-3), nn.ReLU(inplace=True)
