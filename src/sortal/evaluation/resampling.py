"""Resampling: images in 0..1, float32 (N, H, W, C), bent, blurred and enlarged; the picture is mirrored beyond its border."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float32]


def centred(images: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of each pixel's centre, counted from the middle, (1, H, W)."""
    height, width = images.shape[1:3]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return (y - (height - 1) / 2)[None], (x - (width - 1) / 2)[None]


def sampled(shares: Shares, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Shares:
    """Images read at places counted from the middle, (N, H, W), between pixels along lines, mirrored beyond the border."""
    count, height, width = shares.shape[:3]
    rows, columns = _mirrored(rows + (height - 1) / 2, height), _mirrored(columns + (width - 1) / 2, width)
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = (rows - top)[..., None].astype(np.float32), (columns - left)[..., None].astype(np.float32)
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    which = np.arange(count)[:, None, None]
    upper = shares[which, top, left] * (1 - right) + shares[which, top, beside] * right
    lower = shares[which, below, left] * (1 - right) + shares[which, below, beside] * right
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


def _mirrored(places: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Places beyond 0..length-1 folded back into it."""
    if length == 1:
        return np.zeros_like(places)
    folded = np.abs(places) % (2 * (length - 1))
    return np.asarray(np.minimum(folded, 2 * (length - 1) - folded))


def smooth(shares: Shares, sigma: float) -> Shares:
    """A Gaussian blur of `sigma` pixels, the picture mirrored beyond its border."""
    return separable(shares, lambda side: _blur_matrix(side, sigma))


def separable(shares: Shares, matrix: Callable[[int], Shares]) -> Shares:
    """Rows and columns each through a matrix: two products, which are quicker than sums over a kernel."""
    along = np.tensordot(matrix(shares.shape[1]), shares, axes=(1, 1)).transpose(1, 0, 2, 3)
    return np.asarray(np.tensordot(matrix(shares.shape[2]), along, axes=(1, 2)).transpose(1, 2, 0, 3), dtype=np.float32)


@lru_cache(maxsize=32)
def _blur_matrix(side: int, sigma: float) -> Shares:
    reach = min(int(np.ceil(3 * sigma)), 4 * side)  # from there on all is one even grey
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((side, side))
    for offset, weight in zip(offsets, weights, strict=True):
        rows = np.arange(side)
        np.add.at(matrix, (rows, np.rint(_mirrored((rows + offset).astype(np.float64), side)).astype(np.int64)), weight)
    return matrix.astype(np.float32)


@lru_cache(maxsize=64)
def zoom_matrix(side: int, zoom: float) -> Shares:
    """Reads a line of `side` pixels enlarged about its middle."""
    middle = (side - 1) / 2
    places = middle + (np.arange(side) - middle) / zoom
    left = np.floor(places).astype(np.int64)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side), left), 1 - (places - left))
    np.add.at(matrix, (np.arange(side), np.minimum(left + 1, side - 1)), places - left)
    return matrix.astype(np.float32)


def filtered(shares: Shares, kernels_NAB: NDArray[np.float64]) -> Shares:
    """Each image through a kernel of its own, by Fourier transforms, mirrored beyond the border."""
    height, width = shares.shape[1:3]
    reach = kernels_NAB.shape[1] // 2
    kernels = (kernels_NAB / kernels_NAB.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
    padded = np.pad(shares, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    size = padded.shape[1:3]
    spectra = np.fft.rfft2(padded, axes=(1, 2)) * np.fft.rfft2(kernels, s=size, axes=(1, 2))[..., None]
    whole = np.fft.irfft2(spectra, s=size, axes=(1, 2))
    # A circular product shifts by the kernel's reach and spoils as much at the other side; both are in the padding.
    return whole[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width].astype(np.float32)
