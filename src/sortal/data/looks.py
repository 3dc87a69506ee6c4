"""Looks: what one glance at a decoded image tells besides its class: light, detail, border, colour, bytes and EXIF data.

Measured once, while an image is scanned, and kept with the other facts about it. All of it is cheap: the picture is first made
small, its shorter side 64 pixels or a little more.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
    made: str
    """Make, model and software of the EXIF data; '' where there is none."""


def look(image: Image.Image, data: bytes, size: tuple[int, int]) -> Looks:
    """The looks of a decoded RGB image, its file's bytes and its full size in pixels."""
    digest = hashlib.blake2b(repr((size, image.size)).encode(), digest_size=16)
    digest.update(image.tobytes())
    factor = max(1, min(image.size) // SIDE)
    small = image.reduce(factor) if factor > 1 else image
    return Looks(measured(small), digest.digest(), len(data), _made(image))


def measured(image: Image.Image) -> NDArray[np.float32]:
    """The `NUMBERS` of a small RGB picture, shape (LENGTH,)."""
    pixels_HWC = np.asarray(image)
    grey_HW = np.asarray(image.convert("L")).astype(np.float32)
    contrast = float(grey_HW.std())
    across, down = np.diff(grey_HW, axis=1), np.diff(grey_HW, axis=0)
    # The root mean square, so that few sharp edges on an even ground count as detail.
    steps = np.sqrt((np.vdot(across, across) + np.vdot(down, down)) / max(1, across.size + down.size))
    coarse_HWC = pixels_HWC.astype(np.int32) >> (8 - BITS)
    counts = np.bincount(((coarse_HWC[:, :, 0] << 2 * BITS) | (coarse_HWC[:, :, 1] << BITS) | coarse_HWC[:, :, 2]).ravel())
    colour_HWC = pixels_HWC.astype(np.float32) / 255
    flat_PC = colour_HWC.reshape(-1, 3)
    edges = (colour_HWC[0], colour_HWC[-1], colour_HWC[:, 0], colour_HWC[:, -1])
    border = [value for edge in edges for value in (*edge.mean(axis=0), edge.std(axis=0).mean())]
    ordered = np.sort(grey_HW, axis=None)
    hundredth = len(ordered) // 100
    shares = (counts.max() / grey_HW.size, np.count_nonzero(counts) / grey_HW.size)
    light = (ordered[hundredth], ordered[-1 - hundredth], contrast, steps / max(contrast, 1e-6))
    return np.array([*light, *shares, *flat_PC.mean(axis=0), *flat_PC.std(axis=0), *border], np.float32)


def _made(image: Image.Image) -> str:
    """Make, model and software, from the EXIF data that Pillow keeps with an image through conversion and turning."""
    raw = image.info.get("exif")
    if not isinstance(raw, bytes):
        return ""
    try:
        exif = Image.Exif()
        exif.load(raw)
        found = [exif.get(tag) for tag in (0x010F, 0x0110, 0x0131)]
    except Exception:  # metadata is a file format of its own, and damaged metadata does not make an image unreadable
        return ""
    return " / ".join(str(value).strip(" \0") for value in found if value is not None)
