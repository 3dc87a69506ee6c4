"""RandAugment on batches: the images that drew the same operation go through it together, as bytes, as in torchvision."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sortal.augment.parameters import Position
from sortal.augment.randaugment import OPERATIONS, choices, magnitude


def apply(images: Tensor, at: Position, *, count: int, level: int) -> Tensor:
    """Images (N, C, S, S) in 0..1 after `count` operations each at a level of 0..30, which act on 256 shades."""
    pixels = (images * 255).round_().clamp_(0, 255).to(torch.uint8).contiguous()
    operations_NO, reversed_NO = choices(at, count)
    # Signed operations have one group for each direction: 23 groups at most, whatever the number of images.
    groups_NO = operations_NO * 2 + reversed_NO
    for groups_N in groups_NO.T:
        for group in np.unique(groups_N):
            operation, sign = OPERATIONS[group // 2], -1 if group % 2 else 1
            rows = torch.from_numpy(np.flatnonzero(groups_N == group)).to(pixels.device)
            strength = sign * magnitude(operation, level, pixels.shape[-1])
            pixels.index_copy_(0, rows, transform(pixels.index_select(0, rows), operation, strength))
    return pixels.to(images.dtype).div_(255)


def transform(pixels: Tensor, operation: str, strength: float) -> Tensor:
    """One operation on uint8 images (N, C, S, S); geometry takes the nearest pixel, and black beyond the image."""
    from torchvision.transforms.v2 import functional as tv

    degrees = math.degrees(math.atan(strength))
    still: dict[str, Any] = {"angle": 0, "translate": [0, 0], "scale": 1, "shear": [0, 0]}
    corner = still | {"center": [0, 0]}
    calls: dict[str, Callable[[], Tensor]] = {
        "Identity": lambda: pixels,
        "ShearX": lambda: tv.affine(pixels, **corner | {"shear": [degrees, 0]}),
        "ShearY": lambda: tv.affine(pixels, **corner | {"shear": [0, degrees]}),
        "TranslateX": lambda: tv.affine(pixels, **still | {"translate": [int(strength), 0]}),
        "TranslateY": lambda: tv.affine(pixels, **still | {"translate": [0, int(strength)]}),
        "Rotate": lambda: tv.rotate(pixels, angle=strength),
        "Brightness": lambda: tv.adjust_brightness(pixels, brightness_factor=1 + strength),
        "Color": lambda: tv.adjust_saturation(pixels, saturation_factor=1 + strength),
        "Contrast": lambda: tv.adjust_contrast(pixels, contrast_factor=1 + strength),
        "Sharpness": lambda: tv.adjust_sharpness(pixels, sharpness_factor=1 + strength),
        "Posterize": lambda: tv.posterize(pixels, bits=int(strength)),
        "Solarize": lambda: tv.solarize(pixels, threshold=255 * strength),
        "AutoContrast": lambda: tv.autocontrast(pixels),
        "Equalize": lambda: tv.equalize(pixels),
    }
    return calls[operation]()
