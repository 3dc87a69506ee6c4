"""torchvision's architectures that timm does not have: the pooled features of each, and where their weights are.

SqueezeNet is not among them: it ends in a convolution, not in features and a classifier.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sortal.engines.torch.models.auxiliary import googlenet_taps
from sortal.engines.torch.models.body import LibraryBody, PoolTo
from sortal.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where things stand in one of torchvision's networks."""

    family: str
    first_conv: str
    classifier: str


_SHUFFLENET = Architecture("shufflenetv2", "conv1.0", "fc")
ARCHITECTURES = {
    "alexnet": Architecture("alexnet", "features.0", "classifier.6"),
    "googlenet": Architecture("googlenet", "conv1.conv", "fc"),
    "shufflenet_v2_x0_5": _SHUFFLENET,
    "shufflenet_v2_x1_0": _SHUFFLENET,
    "shufflenet_v2_x1_5": _SHUFFLENET,
    "shufflenet_v2_x2_0": _SHUFFLENET,
}


class TorchvisionBody(LibraryBody):
    """A torchvision network that gives its pooled features."""

    def __init__(self, net: nn.Module, name: str, image_size: int) -> None:
        super().__init__(net, image_size)
        if name == "googlenet":
            self.taps = googlenet_taps()

    def layers(self) -> list[list[str]]:
        layers: list[list[str]] = []
        for place, module in _units("net", self.net):
            named = dict(module.named_parameters())
            if layers and all(parameter.ndim == 1 for parameter in named.values()):
                layers[-1] += [f"{place}.{name}" for name in named]  # a norm learns with the convolution before it
            elif named:
                layers.append([f"{place}.{name}" for name in named])
        return layers

    def stages(self) -> list[list[str]]:
        return self.layers()


def _units(place: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that work one after the other."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _units(f"{place}.{name}", child)
        else:
            yield f"{place}.{name}", child


def torchvision_net(name: str, channels: int) -> nn.Module:
    """torchvision's network with features for outputs."""
    import torchvision

    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    net: nn.Module = torchvision.models.get_model(name, **options)
    net.set_submodule(ARCHITECTURES[name].classifier, nn.Identity())
    if name == "alexnet":
        net.set_submodule("avgpool", PoolTo(6))
    if channels != 3:
        place = ARCHITECTURES[name].first_conv
        net.set_submodule(place, _for_channels(net.get_submodule(place), channels))
    return net


def _for_channels(conv: nn.Module, channels: int) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d)
    kernel, stride, padding = ((values[0], values[1]) for values in (conv.kernel_size, conv.stride, conv.padding))
    assert not isinstance(padding[0], str)
    return nn.Conv2d(channels, conv.out_channels, kernel, stride, padding, bias=conv.bias is not None)  # type: ignore[arg-type]


def whole(name: str) -> nn.Module:
    """The network with the classifier of 1,000 classes that its weights have, without auxiliary ones."""
    import torchvision

    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    net: nn.Module = torchvision.models.get_model(name, **options)
    return net


def config(name: str) -> dict[str, Any]:
    """What torchvision knows of a name's pretrained weights, under timm's keys."""
    weights = _weights(name)
    given = weights.transforms()
    size, resize = given.crop_size[0], given.resize_size[0]
    # GoogLeNet's weights came from TensorFlow and want its normalisation; torchvision converts inside the network.
    half = name == "googlenet"
    return {
        "input_size": (3, size, size),
        "crop_pct": size / resize,
        "interpolation": given.interpolation.value,
        "mean": (0.5,) * 3 if half else tuple(given.mean),
        "std": (0.5,) * 3 if half else tuple(given.std),
        "first_conv": ARCHITECTURES[name].first_conv,
        "classifier": ARCHITECTURES[name].classifier,
        "url": weights.url,
    }


def cached_file(name: str) -> Path | None:
    """torchvision's weights of a name in the local cache of torch's hub, if they are there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / _weights(name).url.rpartition("/")[2]
    return path if path.is_file() else None


def downloaded(name: str) -> dict[str, Tensor]:
    """torchvision's weights of a name, from the network or torch's cache, checked against the hash in their name."""
    try:
        state: dict[str, Tensor] = _weights(name).get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # no network, a damaged download: each has an error of its own
        raise WeightsError(
            f"the pretrained weights of {name} could not be loaded: {error}",
            hint="without a network, name a file: weights = 'FILE.pth'",
        ) from error
    return state


def _weights(name: str) -> Any:
    import torchvision

    return torchvision.models.get_model_weights(name)["DEFAULT"]
