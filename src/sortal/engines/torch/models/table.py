"""All architectures by name, ours and timm's: make one, or ask what it wants to be fed."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import torch
from torch import nn

from sortal.engines.protocol import Input
from sortal.engines.torch.models import timm_body
from sortal.engines.torch.models.body import Body
from sortal.errors import NotSupported, UnknownName
from sortal.registry import Registry

HERE = "sortal.engines.torch.models"
OURS = Registry("model", hint="`sortal models PATTERN` lists what there is")
OURS.add("compact", f"{HERE}.compact:compact", "small images from scratch: the most accuracy for a minute of training")
OURS.add("compact_s", f"{HERE}.compact:compact_s", "small images from scratch on a slow machine: a quarter of compact's work")
OURS.add("compact_l", f"{HERE}.compact:compact_l", "small images from scratch on an accelerator: four times compact's work")
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
    body = _build(name, channels, image_size, stem)
    try:
        body.dimensions = _dimensions(body, channels, image_size)
    except _DOES_NOT_FIT as error:
        raise _too_small(name, channels, image_size) from error
    return body


def expects(name: str, *, pretrained: bool, image_size: int) -> Input:
    """How the network's pretrained weights were fed; of networks without weights, sizes alone."""
    if name in OURS or not pretrained:
        known(name)
        return Input(image_size, image_size, "bicubic", None, None)
    cfg = timm_body.config(known(name))
    share = cfg.get("crop_pct") or 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear" if cfg.get("interpolation") == "bilinear" else "bicubic"
    return Input(image_size, max(image_size, round(image_size / share)), interpolation, tuple(cfg["mean"]), tuple(cfg["std"]))


def known(name: str) -> str:
    """The name itself; raises `UnknownName` for one that neither we nor timm have. timm's may end in '.tag' of weights."""
    if name in OURS or name.partition(".")[0] in timm_names():
        return name
    raise UnknownName("model", name, [*(entry.name for entry in OURS), *timm_names()], hint=OURS.hint)


def timm_names() -> Iterable[str]:
    """Every architecture of timm, without tags."""
    import timm

    names: list[str] = timm.list_models()
    return names


_DOES_NOT_FIT = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError)
"""What networks raise, while being built or run, when an image is too small or does not divide into their patches."""


def _build(name: str, channels: int, image_size: int, stem: str) -> Body:
    if name in OURS:
        if stem != "default":
            raise NotSupported(f"{name} has a small stem already", hint="leave stem = 'default'")
        try:
            body: Body = OURS[name].load()(channels, image_size)
        except ValueError as error:
            raise _too_small(name, channels, image_size) from error
        return body
    known(name)
    try:
        net = timm_body.timm_net(name, channels, image_size)
    except _DOES_NOT_FIT as error:
        raise _too_small(name, channels, image_size) from error
    if stem == "small":
        timm_body.make_stem_small(net, name)
    return timm_body.TimmBody(net, image_size)


def _dimensions(body: nn.Module, channels: int, image_size: int) -> int:
    """The length of a feature vector, by trying one image."""
    device = next(body.parameters()).device
    with torch.no_grad():
        features = body.eval()(torch.zeros(1, channels, image_size, image_size, device=device))
    body.train()
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise NotSupported("this architecture does not give one vector of features an image", hint=OURS.hint)
    return features.shape[1]


def _too_small(name: str, channels: int, image_size: int) -> NotSupported:
    """The error for a size that does not work, with the next one that does, found without computing anything."""
    larger = range(image_size + 1, PROBED)
    if name in OURS:
        size = next((size for size in larger if _fits(OURS[name].load(), channels, size)), PROBED)
    elif timm_body.config(name).get("fixed_input_size"):  # sizes that divide into patches
        size = next((size for size in larger if _fits(partial(timm_body.timm_net, name), channels, size)), PROBED)
    else:  # all sizes from some on
        with torch.device("meta"):
            net = timm_body.timm_net(name, channels, image_size)
        size = image_size + 1 + bisect_left(larger, True, key=lambda size: _fits(lambda *_: net, channels, size))
    cure = f"the next size it takes is {size}: set image_size = {size}" if size < PROBED else "take another model"
    return NotSupported(f"{name} does not take images of {image_size} pixels", hint=cure)


def _fits(build: Callable[[int, int], nn.Module], channels: int, size: int) -> bool:
    try:
        with torch.device("meta"):
            _dimensions(build(channels, size), channels, size)
    except _DOES_NOT_FIT:
        return False
    return True
