"""Arrays as pictures: numbers of any type and range become uint8 of shape (N, H, W, C), in ways that are said, not guessed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError

CHANNELS = (1, 2, 3, 4)  # grey, grey with alpha, RGB, RGB with alpha


def shaped(values: NDArray[Any], image_shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Numbers of shape (N, H, W) or (N, H, W, C), or flattened images (N, F), as (N, H, W, C); raises `DataError`.

    Flattened images take `image_shape`: (H, W) or (H, W, C), of which one may be -1, as NumPy's reshape takes it. Without it a
    square number of values is a square grey image, which is how scikit-learn's own digits and faces come.
    """
    if values.ndim == 2:
        values = _unflattened(values, image_shape)
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or 0 in values.shape[1:]:
        raise DataError(
            f"expected images of shape (N, H, W) or (N, H, W, C), got {values.shape}",
            hint="one row an image; name the shape of flattened images with image_shape=(H, W) or (H, W, C)",
        )
    if values.shape[3] not in CHANNELS:
        turn = ": turn them with X.transpose(0, 2, 3, 1)" if values.shape[1] in CHANNELS else ""
        raise DataError(
            f"images of {values.shape[3]} channels, in shape {values.shape}", hint=f"channels come last, 1 to 4{turn}"
        )
    return values


def _unflattened(values_NF: NDArray[Any], image_shape: tuple[int, ...] | None) -> NDArray[Any]:
    count, features = values_NF.shape
    if image_shape is None:
        side = round(features**0.5)
        if side * side != features:
            raise DataError(
                f"rows of {features} values are not square grey images",
                hint="name their shape with image_shape=(H, W) or (H, W, C), or give images as (N, H, W, C)",
            )
        image_shape = (side, side)
    if len(image_shape) not in (2, 3):
        raise DataError(f"image_shape must be (H, W) or (H, W, C), got {image_shape}")
    try:
        # A copy of no rows takes any shape, so that an empty X is told apart from one of the wrong length.
        return values_NF.reshape(count, *image_shape)
    except ValueError as error:
        raise DataError(
            f"rows of {features} values do not make images of shape {image_shape}", hint="correct image_shape"
        ) from error


def natural_range(values: NDArray[Any]) -> tuple[float, float]:
    """What black and white are in numbers of this type: 0 and 1 for floats and booleans, 0 and 255 for whole numbers."""
    return (0.0, 1.0) if values.dtype.kind in "fb" else (0.0, 255.0)


def to_uint8(values: NDArray[Any], value_range: tuple[float, float], *, clip: bool = False) -> NDArray[np.uint8]:
    """Numbers as uint8 of the same shape: `value_range` goes to 0..255, linearly, rounded to the nearest of 256 levels.

    Raises `DataError` for numbers outside the range, unless `clip` moves them to its ends.
    """
    low, high = value_range
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    if not low < high:
        raise DataError(f"value_range must go from a smaller to a larger number, got ({low:g}, {high:g})")
    if not clip and values.size and (values.min() < low or values.max() > high):
        found = f"{values.min():g} to {values.max():g}"
        raise DataError(
            f"images of type {values.dtype} hold values from {found}, expected {low:g} to {high:g}",
            hint="name what is black and what is white with value_range=(LOW, HIGH), or have it learnt: value_range='fit'",
        )
    share = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
