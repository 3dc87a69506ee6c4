"""Policies on batches: the images that drew the same operation go through it together, as bytes, as in torchvision."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sortal.augment.policies import OPERATIONS, Step
from sortal.engines.torch.augment import shades


def apply(images: Tensor, steps: Sequence[Step]) -> Tensor:
    """Images (N, C, S, S) in 0..1 after the operations each of them drew, which act on 256 shades."""
    pixels = torch.add(torch.full((), 0.5, dtype=images.dtype, device=images.device), images, alpha=shades.WHITE)
    pixels = pixels.to(torch.int16).to(torch.uint8).contiguous()
    back_N = np.arange(len(pixels))
    for operation_N, strength_N in steps:
        # As many groups as there are pairs of operation and strength: at most 23 in RandAugment, whatever the number of images.
        # They are laid side by side first, since to read rows in any order costs far less than to write them.
        # A complex number holds a pair, because those are sorted ten times faster than rows of two.
        pair_G, group_N, size_G = np.unique(operation_N + 1j * strength_N, return_inverse=True, return_counts=True)
        order_N = np.argsort(group_N, kind="stable")
        groups = torch.split(pixels.index_select(0, _places(back_N[order_N], pixels)), size_G.tolist())
        pixels = torch.cat(
            [transform(group, OPERATIONS[int(pair.real)], float(pair.imag)) for group, pair in zip(groups, pair_G, strict=True)]
        )
        back_N[order_N] = np.arange(len(pixels))
    return pixels.index_select(0, _places(back_N, pixels)).to(images.dtype).div_(shades.WHITE)


def transform(pixels: Tensor, operation: str, strength: float) -> Tensor:
    """One operation on uint8 images (N, C, S, S); geometry takes the nearest pixel, and black beyond the image."""
    calls: dict[str, Callable[[], Tensor]] = {
        "Identity": lambda: pixels,
        "Brightness": lambda: shades.brightened(pixels, 1 + strength),
        "Color": lambda: shades.saturated(pixels, 1 + strength),
        "Contrast": lambda: shades.contrasted(pixels, 1 + strength),
        "Sharpness": lambda: shades.sharpened(pixels, 1 + strength),
        "Posterize": lambda: pixels & (256 - 2 ** (8 - int(strength))),
        "Solarize": lambda: shades.solarized(pixels, shades.WHITE * strength),
        "AutoContrast": lambda: shades.stretched(pixels),
        "Equalize": lambda: shades.equalized(pixels),
        "Invert": lambda: pixels.bitwise_not(),
    }
    return calls[operation]() if operation in calls else _moved(pixels, operation, strength)


def _moved(pixels: Tensor, operation: str, strength: float) -> Tensor:
    """Every image of a group moves alike, so where its pixels come from is worked out once."""
    source_P, inside_P = _sources(operation, strength, pixels.shape[2], pixels.device)
    flat_NCP = pixels.flatten(2)
    return flat_NCP.gather(2, source_P.expand(flat_NCP.shape)).mul_(inside_P).view(pixels.shape)


@lru_cache(maxsize=64)
def _sources(operation: str, strength: float, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each place of a square image the place that its pixel comes from, int64, and 1 or else 0 for black, uint8.

    They are what torchvision does to an image whose pixels are their own places, counted from 1.
    """
    from torchvision.transforms.v2 import functional as tv

    degrees = math.degrees(math.atan(strength))
    still: dict[str, Any] = {"angle": 0, "translate": [0, 0], "scale": 1, "shear": [0, 0]}
    corner = still | {"center": [0, 0]}
    places = torch.arange(1, side * side + 1, dtype=torch.float32, device=device).view(1, 1, side, side)
    moved = {
        "ShearX": lambda: tv.affine(places, **corner | {"shear": [degrees, 0]}),
        "ShearY": lambda: tv.affine(places, **corner | {"shear": [0, degrees]}),
        "TranslateX": lambda: tv.affine(places, **still | {"translate": [int(strength), 0]}),
        "TranslateY": lambda: tv.affine(places, **still | {"translate": [0, int(strength)]}),
        "Rotate": lambda: tv.rotate(places, angle=strength),
    }[operation]()
    source_P = moved.flatten().long() - 1
    return source_P.clamp(min=0), (source_P >= 0).to(torch.uint8)


def _places(rows_N: np.ndarray[Any, Any], pixels: Tensor) -> Tensor:
    return torch.from_numpy(rows_N).to(pixels.device)
