"""Statistics of pixels: the mean and deviation that a network without pretrained weights is normalised with."""

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Pixels

IMAGES = 2_000  # enough to know a channel's mean to half a percent
AT_ONCE = 256


def channel_statistics(pixels: Pixels, rows_M: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in 0..1, to four places, over about `IMAGES` of the rows, evenly spread."""
    step = max(1, len(rows_M) // IMAGES)
    parts = []
    for start in range(0, len(rows_M), step * AT_ONCE):
        values = pixels.read(rows_M[start : start + step * AT_ONCE : step]).astype(np.float64) / 255
        parts.append((values.sum(axis=(0, 1, 2)), (values**2).sum(axis=(0, 1, 2)), values[..., 0].size))
    sums, squares, counts = zip(*parts, strict=True)
    mean = np.sum(sums, axis=0) / sum(counts)
    std = np.sqrt(
        np.maximum(np.sum(squares, axis=0) / sum(counts) - mean**2, 1e-6)
    )  # an even channel must not divide by nothing
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())
