"""Looks: what one glance at a decoded image tells besides its class: light, detail, border, colour, bytes, and its file.

Measured once, while an image is scanned, and kept with the other facts about it. All of it is cheap: the picture is first made
small, its shorter side 64 pixels or a little more.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sortal.data.made import Value, made

SIDE = 64
"""Pixels of the shorter side that a picture is reduced to, at least; a smaller one is left as it is."""
BITS = 5
"""Of each colour channel, when colours are counted: the noise of a JPEG makes no new colour then."""

NUMBERS = {
    "darkest": 1,  # grey level, 0 to 255, that a hundredth of the picture is below
    "lightest": 1,  # and that a hundredth is above
    "contrast": 1,  # standard deviation of grey levels
    "detail": 1,  # of the differences between neighbours, as a share of the contrast: small where it is blurred
    "commonest": 1,  # share of the pixels that have the commonest colour
    "colours": 1,  # different colours a pixel: photographs have many
    "colour": 6,  # mean and deviation of red, green, blue, 0 to 1
    "border": 16,  # of the outermost pixels, top, bottom, left, right: mean red, green, blue, and the mean deviation, 0 to 1
}
"""What is measured, in the order in which it is kept, and how many numbers it is."""
LENGTH = sum(NUMBERS.values())


@dataclass(frozen=True, slots=True)
class Looks:
    """Of one image: its numbers (`NUMBERS`), what its pixels are told by, its bytes, and how its file was made."""

    numbers: NDArray[np.float32]
    pixels: bytes
    """16 bytes that are equal for equal pixels, as far as they were decoded: a JPEG may have been decoded at a smaller
    scale."""
    bytes: int
    made: Mapping[str, Value]
    """What the file says of itself (`made.FACTS`)."""


def look(images: Sequence[Image.Image], datas: Sequence[bytes], sizes: Sequence[tuple[int, int]]) -> list[Looks]:
    """The looks of decoded RGB images, their files' bytes and their full sizes in pixels (width, height)."""
    whole = [np.asarray(image) for image in images]
    small = [_small(image, pixels_HWC) for image, pixels_HWC in zip(images, whole, strict=True)]
    numbers_NL = np.empty((len(images), LENGTH), np.float32)
    # Pictures of one size are measured together: on those of 32 pixels nine tenths of the time went into numpy's calls.
    places = defaultdict[tuple[int, ...], list[int]](list)
    for place, pixels_HWC in enumerate(small):
        places[pixels_HWC.shape].append(place)
    for some in places.values():
        numbers_NL[some] = measured(np.stack([small[place] for place in some]))
    return [
        Looks(numbers_L, _digest(pixels_HWC, size), len(data), made(data, image.info))
        for numbers_L, image, pixels_HWC, data, size in zip(numbers_NL, images, whole, datas, sizes, strict=True)
    ]


def _small(image: Image.Image, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = max(1, min(image.size) // SIDE)
    return np.asarray(image.reduce(factor)) if factor > 1 else pixels_HWC


def _digest(pixels_HWC: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    height, width, _ = pixels_HWC.shape
    digest = hashlib.blake2b(repr((size, (width, height))).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels_HWC).data)
    return digest.digest()


def measured(pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The `NUMBERS` of small RGB pictures, uint8 (N, H, W, 3): shape (N, LENGTH)."""
    count, pixels = len(pixels_NHWC), pixels_NHWC.shape[1] * pixels_NHWC.shape[2]
    planes_CNHW = np.ascontiguousarray(pixels_NHWC.transpose(3, 0, 1, 2))
    grey_NHW = _grey(planes_CNHW)
    light_NHW = grey_NHW.astype(np.float32)
    contrast_N = light_NHW.reshape(count, pixels).std(axis=1)
    # The root mean square, so that few sharp edges on an even ground count as detail.
    squares_N, steps = np.zeros(count, np.float32), 0
    for axis in (1, 2):
        change_NP = np.diff(light_NHW, axis=axis).reshape(count, -1)
        squares_N += np.einsum("np,np->n", change_NP, change_NP)
        steps += change_NP.shape[1]
    detail_N = np.sqrt(squares_N / max(1, steps)) / np.maximum(contrast_N, 1e-6)
    darkest_N, lightest_N = _extremes(grey_NHW)
    commonest_N, colours_N = _colours(planes_CNHW)
    colour_CNHW = planes_CNHW.astype(np.float32) / 255
    flat_CNP = colour_CNHW.reshape(3, count, pixels)
    edges = (colour_CNHW[:, :, 0], colour_CNHW[:, :, -1], colour_CNHW[..., 0], colour_CNHW[..., -1])
    border = [part for edge in edges for part in (edge.mean(axis=2), edge.std(axis=2).mean(axis=0, keepdims=True))]
    single = (darkest_N, lightest_N, contrast_N, detail_N, commonest_N / pixels, colours_N / pixels)
    numbers_LN: NDArray[np.float32] = np.concatenate(
        [np.stack(single), flat_CNP.mean(axis=2), flat_CNP.std(axis=2), *border], dtype=np.float32
    )
    return numbers_LN.T


def _grey(planes_CNHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ITU-R 601 luminance, to the same byte as Pillow's."""
    red, green, blue = planes_CNHW.astype(np.uint32)
    grey_NHW: NDArray[np.uint8] = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)
    return grey_NHW


def _extremes(grey_NHW: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The grey levels that a hundredth of each picture's pixels is below, and above: both of shape (N,)."""
    count, pixels = len(grey_NHW), grey_NHW[0].size
    levels = grey_NHW.reshape(count, pixels) + 256 * np.arange(count)[:, None]
    up_to_NV = np.bincount(levels.ravel(), minlength=256 * count).reshape(count, 256).cumsum(axis=1)
    hundredth = pixels // 100
    return (up_to_NV > hundredth).argmax(axis=1), (up_to_NV > pixels - 1 - hundredth).argmax(axis=1)


def _colours(planes_CNHW: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many pixels have the commonest coarse colour, and how many such colours there are: both of shape (N,)."""
    red, green, blue = (planes_CNHW >> (8 - BITS)).astype(np.uint16)
    codes_NHW = (red << 2 * BITS) | (green << BITS) | blue
    codes_NP = np.sort(codes_NHW.reshape(len(codes_NHW), -1), axis=1)
    begins_NP = np.ones(codes_NP.shape, np.bool_)  # of a run of one colour
    begins_NP[:, 1:] = codes_NP[:, 1:] != codes_NP[:, :-1]
    lengths = np.diff(np.flatnonzero(begins_NP), append=codes_NP.size)
    colours_N = np.count_nonzero(begins_NP, axis=1)
    return np.maximum.reduceat(lengths, np.cumsum(colours_N) - colours_N), colours_N
