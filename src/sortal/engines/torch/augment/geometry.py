"""Moving pixels: shifts and mirrors as copies of bytes, everything else as one interpolation along a matrix a sample."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sortal.augment.parameters import Floats

BORDERS = {"constant": "zeros", "nearest": "border", "reflect": "reflection"}
SMOOTH = 1.5
"""Pixels of the source a pixel of the result may stand for before bilinear interpolation would skip some."""


def shifted(pixels_NRRC: Tensor, shifts_N2: NDArray[np.int64], size: int, padding: int, mode: str) -> Tensor:
    """The centre `size` x `size` of images (N, R, R, C), moved by rows and columns of up to `padding`: (N, size, size, C).

    Beyond the image lies black ('constant'), its nearest pixel, or the image mirrored at its outermost pixels ('reflect').
    """
    padded = bordered(pixels_NRRC, padding, mode)
    return windows(padded, shifts_N2 + (padded.shape[1] - size) // 2, size)


def windows(pixels_NPPC: Tensor, corners_N2: NDArray[np.int64], size: int) -> Tensor:
    """The `size` x `size` pixels of each image (N, P, P, C) from its own top left corner on, which must lie inside."""
    padded = pixels_NPPC.contiguous()
    count, side, _, channels = padded.shape
    start_N2 = torch.from_numpy(corners_N2).to(padded.device)
    # Every pixel begins a row of `size` pixels that lie side by side, so a crop is `size` copies of whole rows. This is
    # about 40 times faster than indexing single pixels.
    rows = padded.as_strided((count * side * side - size + 1, size * channels), (channels, 1))
    first_N = torch.arange(count, device=padded.device) * (side * side) + start_N2[:, 0] * side + start_N2[:, 1]
    row_NS = first_N[:, None] + torch.arange(size, device=padded.device) * side
    return rows.index_select(0, row_NS.reshape(-1)).view(count, size, size, channels)


def mirrored(pixels: Tensor, chosen_N: NDArray[np.bool_], dim: int) -> Tensor:
    """A copy in which the chosen images are reversed along a dimension."""
    rows_M = np.flatnonzero(chosen_N)
    # Read in the wanted order, because bytes are written row by row to places of their own at a fifth of that speed.
    source_N = np.arange(len(pixels))
    source_N[rows_M] = len(pixels) + np.arange(len(rows_M))
    turned = pixels.index_select(0, torch.from_numpy(rows_M).to(pixels.device)).flip(dim)
    return torch.cat([pixels, turned]).index_select(0, torch.from_numpy(source_N).to(pixels.device))


def quarter_turned(pixels_NRRC: Tensor, turns_N: NDArray[np.int64]) -> Tensor:
    """A copy in which each image is turned against the clock by its number of right angles."""
    turned = pixels_NRRC.clone()
    for turns in (1, 2, 3):
        rows = torch.from_numpy(np.flatnonzero(turns_N == turns)).to(turned.device)
        turned.index_copy_(0, rows, turned.index_select(0, rows).rot90(turns, (1, 2)))
    return turned


def to_float(pixels_NHWC: Tensor, *, channels_last: bool = False) -> Tensor:
    """uint8 (N, H, W, C) to float32 (N, C, H, W) in 0..1."""
    if channels_last or pixels_NHWC.shape[3] == 1:
        moved = pixels_NHWC.permute(0, 3, 1, 2)
        return moved.to(torch.float32, memory_format=torch.channels_last).div_(255)
    # Planes are put together as bytes, since a quarter of the memory then moves against its grain.
    return torch.stack(pixels_NHWC.unbind(3), dim=1).to(torch.float32).div_(255)


def resampled(images: Tensor, matrix_N33: Floats, size: int, fill: str) -> Tensor:
    """Images (N, C, size, size) whose pixels come, bilinearly, from where the matrices lead; both sides go from -1 to 1.

    Corners that a turn or shift uncovers show what surrounds a crop, and `fill` beyond the image: black, the nearest
    pixel, or the image mirrored at its border. Where a pixel of the result stands for more than 1.5 of the stored ones
    (it cannot, unless `resize` is far above `image_size`), several places are read and averaged, against aliasing.
    """
    finer = max(1, math.ceil(images.shape[-1] / size / SMOOTH))
    theta = torch.from_numpy(matrix_N33[:, :2].astype(np.float32)).to(images.device)
    grid = functional.affine_grid(theta, [len(images), images.shape[1], size * finer, size * finer], align_corners=False)
    found = sampled(images, grid, fill)
    return functional.avg_pool2d(found, finer) if finer > 1 else found


def reflected(place: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Places beyond 0..side - 1 mirrored at the outermost pixels, on and on: 0 1 2 1 0 1 ..., of period 2 (side - 1)."""
    place = np.abs(place) % max(1, 2 * (side - 1))
    return np.minimum(place, 2 * (side - 1) - place)


def sampled(images: Tensor, grid_NSS2: Tensor, fill: str) -> Tensor:
    """Images (N, C, H, W) read bilinearly at places (x, y) that go from -1 to 1; beyond them lies what `fill` says."""
    return functional.grid_sample(images, grid_NSS2, mode="bilinear", padding_mode=BORDERS[fill], align_corners=False)


def bordered(pixels_NRRC: Tensor, padding: int, mode: str) -> Tensor:
    """Images (N, R, R, C) with so many pixels more on each side: black, the nearest pixel, or the image mirrored."""
    if mode == "constant":
        return functional.pad(pixels_NRRC, (0, 0, padding, padding, padding, padding))
    side = pixels_NRRC.shape[1]
    place = np.arange(-padding, side + padding)
    place = np.clip(place, 0, side - 1) if mode == "nearest" else reflected(place, side)
    index = torch.from_numpy(place).to(pixels_NRRC.device)
    return pixels_NRRC.index_select(1, index).index_select(2, index)
