"""A perceptual hash: 64 bits that stay nearly the same when a picture is resized, recompressed or slightly recoloured.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): the picture as 32 x 32
grey pixels, its 8 x 8 lowest frequencies, one bit for each that is above their median. Pictures that differ in few bits (up to
about 8 of 64) are nearly always the same picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
KEPT = 8
REDUCED = 3.0  # Pillow's own word for "very close to the resampling of all pixels"

# Rows of the DCT-II matrix for the lowest frequencies, shape (8, 32).
BASIS = np.cos(np.pi / SIDE * np.outer(np.arange(KEPT), np.arange(SIDE) + 0.5)).astype(np.float64)


def perceptual_hashes(images: Sequence[Image.Image]) -> list[int]:
    """The hash of each image as an unsigned 64-bit number; a picture of one even colour has the hash of any other such."""
    if not images:
        return []
    grey_NHW = np.stack([_small(image) for image in images])
    low_NUV = BASIS @ grey_NHW @ BASIS.T
    # Rounding keeps the last bits of the arithmetic, which differ between machines, from deciding about even areas.
    low_NF = np.round(low_NUV, 3).reshape(len(images), -1)
    middle = low_NF.shape[1] // 2
    middle_N1 = np.sort(low_NF, axis=1)[:, middle - 1 : middle + 1].mean(axis=1, keepdims=True)  # the median, more quickly
    packed_N8 = np.packbits(low_NF > middle_N1, axis=1)
    return [int.from_bytes(packed.tobytes(), "big") for packed in packed_N8]


def _small(image: Image.Image) -> NDArray[np.float64]:
    # A large picture is first reduced by a whole number: five times as quick, and further from any bit's threshold than a
    # recompression is.
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=REDUCED)
    return np.asarray(small, dtype=np.float64)
