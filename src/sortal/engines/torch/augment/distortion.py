"""Distortions that bend an image: of a lens, of a grid, elastic. Each reads every pixel from another place, bilinearly."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sortal.augment.parameters import Floats
from sortal.engines.torch.augment.geometry import sampled
from sortal.engines.torch.augment.quality import blurred


def optical(images: Tensor, strength_N: Floats, fill: str) -> Tensor:
    """Radial distortion: a pixel at r sides from the centre comes from r (1 + k r^2 + k r^4), as OpenCV's k1 = k2 = k."""
    x, y = _places(images)
    k = torch.from_numpy(strength_N).to(images.device, torch.float32).reshape(-1, 1, 1)
    square = (x * x + y * y) / 4  # places go from -1 to 1, a side is 2 long
    factor = 1 + k * square + k * square * square
    return sampled(images, torch.stack([x * factor, y * factor], dim=3), fill)


def grid(images: Tensor, knots_N2K: Floats, fill: str) -> Tensor:
    """Columns and rows stretched piece by piece: an even grid's lines come from the knots, which go from -1 to 1."""
    knots = torch.from_numpy(knots_N2K).to(images.device, torch.float32)
    cells = knots.shape[2] - 1
    axes = []
    for axis, side in ((0, images.shape[3]), (1, images.shape[2])):
        place = (torch.arange(side, device=images.device) + 0.5) / side * cells
        cell = place.floor().long().clamp(max=cells - 1)
        start, end = knots[:, axis].index_select(1, cell), knots[:, axis].index_select(1, cell + 1)
        axes.append(start + (end - start) * (place - cell))
    x_NW, y_NH = axes
    shape = (len(images), *images.shape[2:])
    return sampled(images, torch.stack([x_NW[:, None, :].expand(shape), y_NH[:, :, None].expand(shape)], dim=3), fill)


def elastic(images: Tensor, shifts_N2HW: Tensor, fill: str) -> Tensor:
    """Every pixel comes from a place moved by `shifts_N2HW`, x before y, where a side is 2 long."""
    theta = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    plain = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return sampled(images, plain + shifts_N2HW.permute(0, 2, 3, 1), fill)


def elastic_shifts(grains_ND: NDArray[np.float32], images: Tensor, alpha: float, sigma: float) -> Tensor:
    """Random shifts (N, 2, H, W) from two grains a pixel, smoothed, in torchvision's units: alpha / 2 is in pixels."""
    count, _, height, width = images.shape
    noise = torch.from_numpy(grains_ND).to(images.device).reshape(count, 2, height, width) * 2 - 1
    # torchvision's radius: a kernel of 8 sigma + 1, made odd.
    smooth = blurred(noise, np.full(count, sigma), int(8 * sigma + 1) // 2)
    side_2 = torch.tensor([width, height], device=images.device, dtype=torch.float32).reshape(1, 2, 1, 1)
    return smooth * alpha / side_2


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """The centres of pixels from -1 to 1: x of shape (1, 1, W), y of shape (1, H, 1)."""
    x, y = (((torch.arange(side, device=images.device) + 0.5) * 2 / side - 1) for side in (images.shape[3], images.shape[2]))
    return x.reshape(1, 1, -1), y.reshape(1, -1, 1)
