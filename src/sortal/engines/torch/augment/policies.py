"""Policies on batches: the images that drew the same operation go through it together, as bytes, as in torchvision."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sortal.augment.policies import OPERATIONS, Step


def apply(images: Tensor, steps: Sequence[Step]) -> Tensor:
    """Images (N, C, S, S) in 0..1 after the operations each of them drew, which act on 256 shades."""
    pixels = (images * 255).round_().clamp_(0, 255).to(torch.uint8).contiguous()
    for operation_N, strength_N in steps:
        # As many groups as there are pairs of operation and strength: at most 23 in RandAugment, whatever the number of images.
        pairs_G2, group_N = np.unique(np.stack([operation_N, strength_N], axis=1), axis=0, return_inverse=True)
        for group, (operation, strength) in enumerate(pairs_G2):
            rows = torch.from_numpy(np.flatnonzero(group_N == group)).to(pixels.device)
            name = OPERATIONS[int(operation)]
            pixels.index_copy_(0, rows, transform(pixels.index_select(0, rows), name, float(strength)))
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
        "Invert": lambda: tv.invert(pixels),
    }
    return calls[operation]()
