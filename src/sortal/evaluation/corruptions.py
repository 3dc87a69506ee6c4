"""Corruptions: what happens to pictures outside the data set, as functions of uint8 images, each at five strengths.

The families and numbers are those of ImageNet-C and CIFAR-10-C that need no pictures of their own (Hendrycks and Dietterich,
"Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019), and resolution, rotation and crop
besides. They published numbers for images of 224 and of 32 pixels; ours follow the image's side (`scaled`). Random numbers come
from positions, so that an image is spoilt in the same way in any company, and each strength by the same draws.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sortal.evaluation.resampling import centred, filtered, sampled, separable, smooth, zoom_matrix

STRENGTHS = (1, 2, 3, 4, 5)
SIDES = (32, 224)
"""Pixels: the sides of the images that the published numbers are for."""
GRAINS = 4096
"""How finely a uniform draw is read where it becomes a Poisson one."""

Images = NDArray[np.uint8]
"""Shape (N, H, W, C)."""
Shares = NDArray[np.float32]
"""The same in 0..1."""


class At(Protocol):
    """Where random numbers are drawn: one row an image, named draws that depend on nothing else."""

    def __len__(self) -> int: ...

    def uniform(self, name: str, count: int = 1) -> NDArray[np.float32]:
        """In [0, 1), shape (N,), or (N, count)."""

    def grains(self, name: str, count: int) -> NDArray[np.float32]:
        """In (0, 1), 16 bits each, shape (N, count)."""

    def normals(self, name: str, count: int) -> NDArray[np.float32]:
        """Standard normal, shape (N, count)."""


Numbers = Sequence[float]
Strengths = tuple[Numbers, Numbers, Numbers, Numbers, Numbers]


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way in which pictures are spoilt."""

    name: str
    about: str
    """As a person says it."""
    apply: Callable[[Images, Numbers, At], Images]
    small: Strengths
    """The numbers for images of 32 pixels, one row a strength."""
    large: Strengths
    """Those for 224 pixels."""
    lengths: tuple[int, ...] = ()
    """Which of the numbers are pixels."""
    colour: bool = False
    """Whether it does nothing to grey images."""

    def scaled(self, strength: int, side: int) -> tuple[float, ...]:
        """The numbers for images of that side, at a strength from 1 to 5.

        Between the published sides they go along a line of the side's logarithm; beyond them they stay, but lengths grow and
        shrink with the side.
        """
        pairs = zip(self.small[strength - 1], self.large[strength - 1], strict=True)
        place = np.log(np.clip(side, *SIDES) / SIDES[0]) / np.log(SIDES[1] / SIDES[0])
        beyond = side / np.clip(side, *SIDES)
        found = [low + (high - low) * float(place) for low, high in pairs]
        return tuple(value * float(beyond) if number in self.lengths else value for number, value in enumerate(found))


def corrupt(images_NHWC: Images, name: str, strength: int, at: At) -> Images:
    """The images, uint8 (N, H, W, C), spoilt by the corruption called `name` at a strength from 1 to 5.

    `at` has a row for each image. Raises `KeyError` for a name that is not in `CORRUPTIONS`.
    """
    assert strength in STRENGTHS, strength
    assert images_NHWC.dtype == np.uint8, images_NHWC.dtype
    assert images_NHWC.ndim == 4, images_NHWC.shape
    assert len(at) == len(images_NHWC), (len(at), len(images_NHWC))
    found = CORRUPTIONS[name]
    return found.apply(images_NHWC, found.scaled(strength, min(images_NHWC.shape[1:3])), at)


def _gaussian_noise(images: Images, numbers: Numbers, at: At) -> Images:
    return _bytes(_shares(images) + numbers[0] * _noise(images, at))


def _speckle_noise(images: Images, numbers: Numbers, at: At) -> Images:
    return _bytes(_shares(images) * (1 + numbers[0] * _noise(images, at)))


def _noise(images: Images, at: At) -> Shares:
    return at.normals("noise", images[0].size).reshape(images.shape)


def _shot_noise(images: Images, numbers: Numbers, at: At) -> Images:
    """Photons that are counted: few of them are a dark and grainy picture."""
    photons = round(numbers[0])
    grains = (at.grains("shot", images[0].size).reshape(images.shape) * GRAINS).astype(np.int64)
    return _bytes(_poisson(photons)[images, grains] / np.float32(photons))


@lru_cache(maxsize=5)
def _poisson(photons: int) -> NDArray[np.uint16]:
    """Counts by grey level and uniform draw, (256, GRAINS): the inverse of each level's distribution function."""
    counts = np.arange(1, photons + 8 * int(np.sqrt(photons)) + 16)
    logs_G = np.log(np.maximum(np.arange(256) * photons / 255, 1e-9))
    powers_GC = counts * logs_G[:, None] - np.cumsum(np.log(counts))
    chances_GC = np.exp(np.concatenate([np.zeros((256, 1)), powers_GC], axis=1) - np.exp(logs_G)[:, None])
    middles = (np.arange(GRAINS) + 0.5) / GRAINS
    found: NDArray[np.uint16] = np.stack([np.searchsorted(row, middles) for row in np.cumsum(chances_GC, axis=1)]).astype(
        np.uint16
    )
    return found


def _impulse_noise(images: Images, numbers: Numbers, at: At) -> Images:
    share = numbers[0]
    draws = at.grains("impulse", images[0].size).reshape(images.shape)
    pepper, salt = draws < share / 2, draws > 1 - share / 2
    return np.where(pepper, np.uint8(0), np.where(salt, np.uint8(255), images))


def _gaussian_blur(images: Images, numbers: Numbers, at: At) -> Images:
    return _bytes(smooth(_shares(images), numbers[0]))


def _defocus_blur(images: Images, numbers: Numbers, at: At) -> Images:
    """A disk, whose edge is softened."""
    radius, edge = numbers[0], max(0.1, numbers[1])
    reach = int(np.ceil(radius + 3 * edge))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip((radius - np.hypot(x, y)) / edge + 0.5, 0, 1)
    return _bytes(filtered(_shares(images), np.broadcast_to(kernel, (len(images), *kernel.shape))))


def _motion_blur(images: Images, numbers: Numbers, at: At) -> Images:
    """Along a line of an angle between -45 and 45 degrees, fading behind as half a Gaussian."""
    radius, sigma = numbers
    reach = max(1, int(np.ceil(radius)))
    steps = np.linspace(0, radius, 4 * reach + 1)
    weights = np.exp(-0.5 * (steps / max(sigma, 1e-6)) ** 2)
    angles = np.deg2rad(90 * at.uniform("motion").astype(np.float64) - 45)
    kernels = np.zeros((len(images), 2 * reach + 1, 2 * reach + 1))
    for number, angle in enumerate(angles):
        rows = reach + np.rint(steps * np.sin(angle)).astype(np.int64)
        columns = reach + np.rint(steps * np.cos(angle)).astype(np.int64)
        np.add.at(kernels[number], (rows, columns), weights)
    return _bytes(filtered(_shares(images), kernels))


def _zoom_blur(images: Images, numbers: Numbers, at: At) -> Images:
    """The mean of the picture and of its ever larger zooms."""
    furthest, step = numbers
    zooms = np.arange(1, furthest + step / 2, step)
    shares = _shares(images)
    total = shares.copy()
    for zoom in zooms.tolist():
        total += separable(shares, partial(zoom_matrix, zoom=zoom))
    return _bytes(total / (len(zooms) + 1))


def _glass_blur(images: Images, numbers: Numbers, at: At) -> Images:
    """Each pixel comes from a place near by, drawn for each. Published as swaps one after the other, here all at once."""
    sigma, reach, times = numbers[0], max(1, round(numbers[1])), round(numbers[2])
    count, height, width = images.shape[:3]
    shares = smooth(_shares(images), sigma)
    rows, columns = np.mgrid[0:height, 0:width]
    for time in range(times):
        draws = at.grains(f"glass{time}", 2 * height * width).reshape(count, 2, height, width)
        moves = np.floor(draws * (2 * reach + 1)).astype(np.int64) - reach
        from_rows = np.clip(rows + moves[:, 0], 0, height - 1)
        from_columns = np.clip(columns + moves[:, 1], 0, width - 1)
        shares = shares[np.arange(count)[:, None, None], from_rows, from_columns]
    return _bytes(smooth(shares, sigma))


def _brightness(images: Images, numbers: Numbers, at: At) -> Images:
    """The value of HSV raised; hue and saturation stay."""
    shares = _shares(images)
    value = shares.max(axis=3, keepdims=True)
    raised = np.minimum(value + numbers[0], 1)
    # A black pixel has no hue: it becomes grey.
    return _bytes(np.where(value > 0, shares * (raised / np.maximum(value, 1e-6)), raised))


def _contrast(images: Images, numbers: Numbers, at: At) -> Images:
    shares = _shares(images)
    means = shares.mean(axis=(1, 2), keepdims=True)
    return _bytes((shares - means) * numbers[0] + means)


def _saturate(images: Images, numbers: Numbers, at: At) -> Images:
    """The saturation of HSV multiplied, first down, then up. Grey stays grey, where the published code makes it red."""
    factor, added = numbers
    shares = _shares(images)
    value = shares.max(axis=3, keepdims=True)
    lack = value - shares
    saturation = lack.max(axis=3, keepdims=True) / np.maximum(value, 1e-6)
    wanted = np.clip(saturation * factor + added, 0, 1)
    return _bytes(value - lack * (wanted / np.maximum(saturation, 1e-6)))


def _jpeg(images: Images, numbers: Numbers, at: At) -> Images:
    quality = round(numbers[0])

    def compressed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _each(images, compressed)


def _pixelate(images: Images, numbers: Numbers, at: At) -> Images:
    return _shrunk(images, numbers[0], Image.Resampling.BOX, Image.Resampling.BOX)


def _resolution(images: Images, numbers: Numbers, at: At) -> Images:
    """A smaller picture that was enlarged again, smoothly."""
    return _shrunk(images, numbers[0], Image.Resampling.BICUBIC, Image.Resampling.BICUBIC)


def _shrunk(images: Images, share: float, down: Image.Resampling, up: Image.Resampling) -> Images:
    height, width = images.shape[1:3]
    small = max(1, int(width * share)), max(1, int(height * share))
    return _each(images, lambda image: image.resize(small, down).resize((width, height), up))


def _rotation(images: Images, numbers: Numbers, at: At) -> Images:
    """Turned either way; corners are filled with the mirrored picture."""
    angle = np.deg2rad(numbers[0]) * np.where(at.uniform("rotation") < 0.5, -1, 1)
    y, x = centred(images)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return _bytes(sampled(_shares(images), cos * y - sin * x, sin * y + cos * x))


def _crop(images: Images, numbers: Numbers, at: At) -> Images:
    """A part of the picture, somewhere, enlarged to all of it."""
    share = numbers[0]
    y, x = centred(images)
    room = (1 - share) / 2 * np.array(images.shape[1:3])
    moved = (2 * at.uniform("crop", 2).astype(np.float64) - 1) * room
    rows, columns = share * y + moved[:, 0, None, None], share * x + moved[:, 1, None, None]
    return _bytes(sampled(_shares(images), rows, columns))


def _elastic(images: Images, numbers: Numbers, at: At) -> Images:
    """A random affine map of three points, then smooth random shifts of each pixel (Simard et al. 2003)."""
    alpha, sigma, affine = numbers
    count, height, width = images.shape[:3]
    side = min(height, width)
    y, x = centred(images)
    third = min(height, width) / 3
    corners = np.array([[third, third, 1], [third, -third, 1], [-third, -third, 1]])
    moved = corners[:, :2] + (2 * at.uniform("affine", 6).reshape(count, 3, 2).astype(np.float64) - 1) * affine * side
    forward = np.zeros((count, 3, 3))
    forward[:, :, :2], forward[:, 2, 2] = np.linalg.solve(corners[None], moved), 1
    back = np.linalg.inv(forward)  # rows of points times this are where they come from
    # Their three points can fall nearly on a line, where the inverse runs off; a picture's length away is far enough.
    rows = np.clip(
        x * back[:, 1, 0, None, None] + y * back[:, 0, 0, None, None] + back[:, 2, 0, None, None], -2 * side, 2 * side
    )
    columns = np.clip(
        x * back[:, 1, 1, None, None] + y * back[:, 0, 1, None, None] + back[:, 2, 1, None, None], -2 * side, 2 * side
    )
    draws = 2 * at.grains("elastic", 2 * height * width).reshape(count, height, width, 2) - 1
    shifts = smooth(draws, sigma * side) * (alpha * side)
    return _bytes(sampled(sampled(_shares(images), rows, columns), y + shifts[..., 0], x + shifts[..., 1]))


def _shares(images: Images) -> Shares:
    return images.astype(np.float32) / np.float32(255)


def _bytes(shares: NDArray[np.floating[Any]]) -> Images:
    return np.asarray(np.rint(np.clip(shares, 0, 1) * 255), dtype=np.uint8)


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """Images one by one through Pillow."""
    grey = images.shape[3] == 1
    changed = [np.asarray(change(Image.fromarray(image[:, :, 0] if grey else image))) for image in images]
    return np.stack(changed).reshape(images.shape)


def _one(*values: float) -> Strengths:
    """Strengths of one number each."""
    first, second, third, fourth, fifth = values
    return (first,), (second,), (third,), (fourth,), (fifth,)


# Their elastic constants for 224 pixels are shares of 244; they say themselves that 224 was meant.
_BENT = 244 / 224
_ALL = (
    Corruption(
        "gaussian_noise", "noise of a sensor in the dark", _gaussian_noise,
        _one(0.04, 0.06, 0.08, 0.09, 0.10), _one(0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    Corruption(
        "shot_noise", "noise of too few photons", _shot_noise, _one(500, 250, 100, 75, 50), _one(60, 25, 12, 5, 3)
    ),
    Corruption(
        "impulse_noise", "black and white pixels", _impulse_noise,
        _one(0.01, 0.02, 0.03, 0.05, 0.07), _one(0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    Corruption(
        "speckle_noise", "noise that grows with brightness", _speckle_noise,
        _one(0.06, 0.1, 0.12, 0.16, 0.2), _one(0.15, 0.2, 0.35, 0.45, 0.6),
    ),
    Corruption(
        "defocus_blur", "a picture out of focus", _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)), ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        lengths=(0, 1),
    ),
    Corruption(
        "gaussian_blur", "an even blur", _gaussian_blur, _one(0.4, 0.6, 0.7, 0.8, 1), _one(1, 2, 3, 4, 6), lengths=(0,)
    ),
    Corruption(
        "glass_blur", "frosted glass", _glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        lengths=(0, 1),
    ),
    Corruption(
        "motion_blur", "a camera that moved", _motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        lengths=(0, 1),
    ),
    Corruption(
        "zoom_blur", "a camera that came nearer", _zoom_blur,
        ((1.05, 0.01), (1.1, 0.01), (1.15, 0.01), (1.2, 0.01), (1.25, 0.01)),
        ((1.1, 0.01), (1.15, 0.01), (1.2, 0.02), (1.24, 0.02), (1.3, 0.03)),
    ),
    Corruption(
        "brightness", "more brightness", _brightness, _one(0.05, 0.1, 0.15, 0.2, 0.3), _one(0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    Corruption(
        "contrast", "less contrast", _contrast, _one(0.75, 0.5, 0.4, 0.3, 0.15), _one(0.4, 0.3, 0.2, 0.1, 0.05)
    ),
    Corruption(
        "saturate", "paler or stronger colours", _saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        colour=True,
    ),
    Corruption("jpeg", "low JPEG quality", _jpeg, _one(80, 65, 58, 50, 40), _one(25, 18, 15, 10, 7)),
    Corruption("pixelate", "large pixels", _pixelate, _one(0.95, 0.9, 0.85, 0.75, 0.65), _one(0.6, 0.5, 0.4, 0.3, 0.25)),
    Corruption(
        "elastic", "a picture that is bent", _elastic,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        (
            (2 * _BENT, 0.7 * _BENT, 0.1 * _BENT), (2 * _BENT, 0.08 * _BENT, 0.2 * _BENT),
            (0.05 * _BENT, 0.01 * _BENT, 0.02 * _BENT), (0.07 * _BENT, 0.01 * _BENT, 0.02 * _BENT),
            (0.12 * _BENT, 0.01 * _BENT, 0.02 * _BENT),
        ),
    ),
    # These three are ours.
    Corruption(
        "resolution", "a small picture enlarged", _resolution,
        _one(0.9, 0.75, 0.6, 0.5, 0.4), _one(0.5, 0.35, 0.25, 0.18, 0.125),
    ),
    Corruption("rotation", "a turn", _rotation, _one(5, 10, 20, 30, 45), _one(5, 10, 20, 30, 45)),
    Corruption("crop", "a part of the picture", _crop, _one(0.9, 0.8, 0.7, 0.6, 0.5), _one(0.9, 0.8, 0.7, 0.6, 0.5)),
)  # fmt: skip
CORRUPTIONS = {each.name: each for each in _ALL}
