"""The quickest PNG: lossless pictures from arrays, filtered by NumPy, left for the file around them to compress.

A PNG's own deflate works on one picture; a Parquet column compressed with zstd sees a thousand at once. For 28 x 28
grey clothes that makes 439 bytes a picture instead of 501, and 0.01 ms to write one instead of 0.12 with Pillow.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG colour type: grey, grey with alpha, RGB, RGB with alpha
UP = 2  # each byte minus the one above it: of the cheap filters the one that zstd packs best (Paeth: 3% less, 4x slower)


def encode(images: NDArray[np.uint8], *, compression: int = 0) -> list[bytes]:
    """PNG files of N pictures, uint8 of shape (N, H, W) or (N, H, W, C): 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.

    `compression` is zlib's level, 0 to 9; 0 stores, for containers that compress.
    The format: W3C, Portable Network Graphics (third edition).
    """
    images_NHWC = images[..., None] if images.ndim == 3 else images
    assert images_NHWC.dtype == np.uint8, images.dtype
    n, height, width, channels = images_NHWC.shape
    assert channels in COLOUR_TYPES, images.shape
    assert height, images.shape
    assert width, images.shape
    lines_NHB = images_NHWC.reshape(n, height, width * channels)
    filtered_NHB = np.empty((n, height, 1 + width * channels), np.uint8)
    filtered_NHB[:, :, 0] = UP
    filtered_NHB[:, 0, 1:] = lines_NHB[:, 0]
    np.subtract(lines_NHB[:, 1:], lines_NHB[:, :-1], out=filtered_NHB[:, 1:, 1:])  # modulo 256, as the format asks
    head = SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0))
    tail = _chunk(b"IEND", b"")
    pictures_NB = filtered_NHB.reshape(n, height * (1 + width * channels))
    return [head + _chunk(b"IDAT", zlib.compress(picture.tobytes(), compression)) + tail for picture in pictures_NB]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
