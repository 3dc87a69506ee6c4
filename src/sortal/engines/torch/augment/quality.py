"""Poor pictures: the blur of a lens, the blur of a movement, the noise of a sensor. One strength a sample."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.augment.parameters import Floats
from sortal.engines.torch.augment.geometry import bordered, reflected, windows

SHARP = 0.01
"""Standard deviation in pixels below which a Gaussian is a point in float64 as well."""


def radius(sigma: float) -> int:
    """Pixels on each side that a Gaussian reaches: beyond three standard deviations lie three thousandths of it."""
    return int(np.ceil(3 * sigma))


def blurred(images: Tensor, sigma_N: Floats, reach: int) -> Tensor:
    """Images (N, C, S, S) under a Gaussian of so many pixels each, cut off at `reach`, mirrored at their outermost pixels.

    Two multiplications by a matrix a sample, one for each axis, whatever the width: sums over 2 `reach` + 1 moved copies take
    longer from 13 of them on. In float64, so that rounding does not depend on how many images a batch has.
    """
    side = images.shape[2]
    matrix_N1SS = torch.from_numpy(_gaussian_matrices(sigma_N, reach, side)).to(images.device).unsqueeze(1)
    return (matrix_N1SS @ images.double() @ matrix_N1SS.mT).to(images.dtype)


def motion_blurred(images: Tensor, length_N: NDArray[np.int64], angle_N: Floats) -> Tensor:
    """The mean over the pixels of a line through each pixel, of an odd length and in a direction (radians) of its own.

    The line is Bresenham's (1965): one pixel a step along its longer axis, the nearest one across it.
    """
    half_N = length_N // 2
    along_x, along_y = np.cos(angle_N), np.sin(angle_N)
    longer = np.maximum(np.abs(along_x), np.abs(along_y))
    count, channels, side, _ = images.shape
    reach = int(half_N.max())
    planes_wide = bordered(images.reshape(count * channels, side, side, 1), reach, "reflect")
    result = torch.zeros_like(images)
    for step in range(-reach, reach + 1):
        offset_N2 = np.rint(step * np.stack([along_y, along_x], axis=1) / longer[:, None]).astype(np.int64)
        inside_N = abs(step) <= half_N
        weight_N = torch.from_numpy(np.where(inside_N, 1 / length_N, 0.0)).to(images.device, images.dtype)
        corner_N2 = np.where(inside_N[:, None], offset_N2, 0) + reach
        moved = windows(planes_wide, np.repeat(corner_N2, channels, axis=0), side).view(images.shape)
        result.addcmul_(moved, weight_N.reshape(-1, 1, 1, 1))
    return result


def noisy(images: Tensor, sigma_N: Floats, normals_ND: NDArray[np.float32]) -> Tensor:
    """Images in 0..1 plus normal numbers, one a pixel and channel, times a standard deviation each."""
    noise = torch.from_numpy(normals_ND * sigma_N[:, None].astype(np.float32)).to(images.device, images.dtype)
    return (images + noise.reshape(images.shape)).clamp_(0, 1)


def _gaussian_matrices(sigma_N: Floats, reach: int, side: int) -> Floats:
    """Shape (N, side, side): row i holds the weights with which pixels make up pixel i."""
    steps_K = np.arange(-reach, reach + 1)
    weights_NK = np.exp(-0.5 * (steps_K / np.maximum(sigma_N, SHARP)[:, None]) ** 2)
    weights_NK /= weights_NK.sum(axis=1, keepdims=True)
    matrix_NSS = np.zeros((len(sigma_N), side, side))
    for k, step in enumerate(steps_K):
        rows_S = np.arange(side)
        matrix_NSS[:, rows_S, reflected(rows_S + step, side)] += weights_NK[:, k, None]
    return matrix_NSS
