"""All architectures by name, ours and the libraries': make one, or ask what it wants to be fed."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any, Literal

import torch
from torch import nn

from sortal.engines.protocol import Input
from sortal.engines.torch.models import spellings, stem, timm_body, torchvision_body
from sortal.engines.torch.models.body import Body, LibraryBody
from sortal.errors import NotSupported, UnknownName
from sortal.registry import Registry

HERE = "sortal.engines.torch.models"
OURS = Registry("model", hint="`sortal models PATTERN` lists what there is")
OURS.add("compact", f"{HERE}.compact:compact", "small images from scratch: few layers, early pooling")
OURS.add("compact_s", f"{HERE}.compact:compact_s", "small images from scratch on a slow machine: a quarter of compact's work")
OURS.add("compact_l", f"{HERE}.compact:compact_l", "small images from scratch on an accelerator: four times compact's work")
OURS.add("brisk", f"{HERE}.compact:brisk", "small images from scratch with whitened patches: airbench's network")
OURS.add("brisk_r", f"{HERE}.compact:brisk_r", "the same with shortcuts, half as much work again: where an hour is at hand")
OURS.add("brisk_s", f"{HERE}.compact:brisk_s", "small images from scratch on a slow machine: less than a third of brisk's work")
OURS.add("brisk_l", f"{HERE}.compact:brisk_l", "small images from scratch on an accelerator: three times brisk's work")
OURS.add("lenet5", f"{HERE}.lenet:lenet5", "digits; the classic of 1998")
OURS.add("simple_cnn", f"{HERE}.plain:simple_cnn", "a tutorial's network, to compare with")
OURS.add("cifar10_cnn", f"{HERE}.plain:cifar10_cnn", "a tutorial's network with dropout, to compare with")
OURS.add("keras_cnn", f"{HERE}.plain:keras_cnn", "a Keras tutorial's network, to compare with")
OURS.add("resnet_cifar", f"{HERE}.residual:resnet_cifar", "small images, residual, two blocks in each of three stages")
OURS.add(
    "resnet_333", f"{HERE}.residual:resnet_333", "small images, residual, three blocks in each of three stages, as in Keras"
)

PROBED = 512
"""Pixels beyond which no size is tried when one that a network takes is looked for."""


def create(name: str, *, channels: int, image_size: int, stem: str = "default") -> Body:
    """A body with random weights from torch's generator, for images of `channels` and `image_size`; `dimensions` is set.

    Raises `UnknownName` with the nearest names, and `NotSupported` for a size, a stem or an architecture that does not work.
    """
    try:
        body = _build(name, channels, image_size, stem)
        body.dimensions = _dimensions(body, channels, image_size)
    except NotSupported:
        raise
    except _DOES_NOT_FIT as error:
        raise _too_small(name, channels, image_size, stem) from error
    return body


def expects(name: str, *, pretrained: bool, image_size: int, channels: int = 3) -> Input:
    """How the network's pretrained weights were fed; of networks without weights, sizes alone.

    For grey images the mean and deviation are those of the weights' colours, on average.
    """
    if name in OURS or not pretrained:
        known(name)
        return Input(image_size, image_size, "bicubic", None, None)
    cfg = config(known(name))
    share = cfg.get("crop_pct") or 1.0
    trained = int(cfg["input_size"][-1])
    interpolation: Literal["bilinear", "bicubic"] = "bilinear" if cfg.get("interpolation") == "bilinear" else "bicubic"
    mean, std = (colours if channels == 3 else (fmean(colours),) for colours in (tuple(cfg["mean"]), tuple(cfg["std"])))
    return Input(image_size, max(image_size, round(image_size / share)), interpolation, mean, std, trained)


def known(name: str) -> str:
    """The name itself; raises `UnknownName` for one that nobody has. timm's may end in '.tag' of weights.

    Where another library's or a paper's spelling is recognised, the error says what the architecture is called here.
    """
    if name in OURS or name in torchvision_body.ARCHITECTURES or name.partition(".")[0] in timm_names():
        return name
    here = spellings.here(name, names())
    if here:
        raise UnknownName("model", name, (), hint=f"here it is called {here!r}: set model = {here!r}")
    raise UnknownName("model", name, names(), hint=OURS.hint)


def names() -> list[str]:
    """Every architecture: ours, torchvision's that timm does not have, timm's without tags."""
    return [*(entry.name for entry in OURS), *torchvision_body.ARCHITECTURES, *timm_names()]


def config(name: str) -> dict[str, Any]:
    """What the library of a name knows of its pretrained weights: mean, std, crop_pct, first_conv, where they are."""
    in_torchvision = name in torchvision_body.ARCHITECTURES
    return torchvision_body.config(name) if in_torchvision else timm_body.config(name)


def first_conv_name(name: str) -> str:
    """Where in a library's network the first convolution stands; '' where the library does not say."""
    place = config(name).get("first_conv") or ""
    return place if isinstance(place, str) else str(place[0])


def timm_names() -> Iterable[str]:
    """Every architecture of timm, without tags."""
    import timm

    listed: list[str] = timm.list_models()
    return listed


_DOES_NOT_FIT = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError)
"""What networks raise, while being built or run, when an image is too small or does not divide into their patches."""


def _build(name: str, channels: int, image_size: int, which_stem: str) -> Body:
    if name in OURS:
        if which_stem != "default":
            raise NotSupported(f"{name} has a small stem already", hint="leave stem = 'default'")
        body: Body = OURS[name].load()(channels, image_size)
        return body
    known(name)
    found = _from_library(name, channels, image_size)
    if which_stem != "default":
        place, patches = first_conv_name(name), timm_body.in_patches(name, found.net)
        tensors = stem.make_small(found.net, name, place, in_patches=patches, random=which_stem == "small_random")
        found.fresh = tensors if which_stem == "small_random" else frozenset()
    return found


def _from_library(name: str, channels: int, image_size: int) -> LibraryBody:
    if name in torchvision_body.ARCHITECTURES:
        return torchvision_body.TorchvisionBody(torchvision_body.torchvision_net(name, channels), name, image_size)
    return timm_body.TimmBody(timm_body.timm_net(name, channels, image_size), name, image_size)


def _dimensions(body: nn.Module, channels: int, image_size: int) -> int:
    """The length of a feature vector, by trying one image."""
    device = next(body.parameters()).device
    with torch.no_grad():
        features = body.eval()(torch.zeros(1, channels, image_size, image_size, device=device))
    body.train()
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise NotSupported("this architecture does not give one vector of features an image", hint=OURS.hint)
    return features.shape[1]


def _too_small(name: str, channels: int, image_size: int, which_stem: str) -> NotSupported:
    """The error for a size that does not work, with the next one that does, found without computing anything."""
    larger = range(image_size + 1, PROBED)

    def build(size: int) -> Body:
        return _build(name, channels, size, which_stem)

    if name in OURS or config(name).get("fixed_input_size"):  # networks that are built for one size
        size = next((size for size in larger if _fits(build, channels, size)), PROBED)
    else:  # all sizes from some on
        with torch.device("meta"):
            body = build(image_size)
        size = image_size + 1 + bisect_left(larger, True, key=lambda size: _fits(lambda _: body, channels, size))
    if size == PROBED and which_stem != "default":
        return NotSupported(f"{name} works with a small stem at no size up to {PROBED} pixels", hint=stem.ADVICE)
    cure = f"the next size it takes is {size}: set image_size = {size}" if size < PROBED else "take another model"
    return NotSupported(f"{name} does not take images of {image_size} pixels", hint=cure)


def _fits(build: Callable[[int], nn.Module], channels: int, size: int) -> bool:
    try:
        with torch.device("meta"):
            _dimensions(build(size), channels, size)
    except _DOES_NOT_FIT:
        return False
    return True
