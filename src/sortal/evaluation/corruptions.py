"""Corruptions: what happens to pictures outside the data set, as functions of uint8 images, each at five strengths.

The families and numbers are those of ImageNet-C that need no pictures of their own (Hendrycks and Dietterich, "Benchmarking
neural network robustness to common corruptions and perturbations", ICLR 2019), and resolution, rotation and crop besides.
Theirs are for images of 224 pixels: here every length in pixels is scaled by the image's side. Random numbers come from
positions, so that an image is spoilt in the same way in any company, and each strength by the same draws as the one before.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRENGTHS = (1, 2, 3, 4, 5)
REFERENCE_SIDE = 224
"""Pixels: the side of the images that the published numbers are for."""
COUNTS, GRAINS = 128, 4096
"""Of the table that turns a uniform draw into a Poisson one: the largest count, and how finely the draw is read."""

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


Apply = Callable[[Images, int, At], Images]


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way in which pictures are spoilt."""

    name: str
    about: str
    apply: Apply
    colour: bool = False
    """Whether it does nothing to grey images."""


def corrupt(images_NHWC: Images, name: str, strength: int, at: At) -> Images:
    """The images, uint8 (N, H, W, C), spoilt by the corruption called `name` at a strength from 1 to 5.

    `at` has a row for each image. Raises `KeyError` for a name that is not in `CORRUPTIONS`.
    """
    assert strength in STRENGTHS, strength
    assert images_NHWC.dtype == np.uint8 and images_NHWC.ndim == 4 and len(at) == len(images_NHWC), images_NHWC.shape
    return CORRUPTIONS[name].apply(images_NHWC, strength - 1, at)


def _gaussian_noise(images: Images, index: int, at: At) -> Images:
    return _bytes(_shares(images) + (0.08, 0.12, 0.18, 0.26, 0.38)[index] * _noise(images, at))


def _speckle_noise(images: Images, index: int, at: At) -> Images:
    return _bytes(_shares(images) * (1 + (0.15, 0.2, 0.35, 0.45, 0.6)[index] * _noise(images, at)))


def _noise(images: Images, at: At) -> Shares:
    return at.normals("noise", images[0].size).reshape(images.shape)


def _shot_noise(images: Images, index: int, at: At) -> Images:
    """Photons that are counted: few of them are a dark and grainy picture."""
    photons = (60, 25, 12, 5, 3)[index]
    grains = (at.grains("shot", images[0].size).reshape(images.shape) * GRAINS).astype(np.int64)
    return _bytes(_poisson(photons)[images, grains] / np.float32(photons))


@lru_cache(maxsize=5)
def _poisson(photons: int) -> NDArray[np.uint8]:
    """Counts by grey level and uniform draw, (256, GRAINS): the inverse of each level's distribution function."""
    counts = np.arange(1, COUNTS)
    logs_G = np.log(np.maximum(np.arange(256) * photons / 255, 1e-9))
    factorials_C = np.cumsum(np.log(counts))
    powers_GC = counts[None] * logs_G[:, None] - factorials_C[None]
    chances_GC = np.exp(np.concatenate([np.zeros((256, 1)), powers_GC], axis=1) - np.exp(logs_G)[:, None])
    middles = (np.arange(GRAINS) + 0.5) / GRAINS
    return (
        np.stack([np.searchsorted(row, middles) for row in np.cumsum(chances_GC, axis=1)]).clip(0, COUNTS - 1).astype(np.uint8)
    )


def _impulse_noise(images: Images, index: int, at: At) -> Images:
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[index]
    draws = at.grains("impulse", images[0].size).reshape(images.shape)
    pepper, salt = draws < share / 2, draws > 1 - share / 2
    return np.where(pepper, np.uint8(0), np.where(salt, np.uint8(255), images))


def _gaussian_blur(images: Images, index: int, at: At) -> Images:
    return _bytes(_smooth(_shares(images), (1, 2, 3, 4, 6)[index] * _scale(images)))


def _defocus_blur(images: Images, index: int, at: At) -> Images:
    """A disk, whose edge is softened."""
    radius, edge = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[index]
    radius, edge = radius * _scale(images), max(0.1, edge * _scale(images))
    reach = int(np.ceil(radius + 3 * edge))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip((radius - np.hypot(x, y)) / edge + 0.5, 0, 1)
    return _bytes(_filtered(_shares(images), np.broadcast_to(kernel, (len(images), *kernel.shape))))


def _motion_blur(images: Images, index: int, at: At) -> Images:
    """Along a line of an angle between -45 and 45 degrees, fading behind as half a Gaussian."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[index]
    radius, sigma = radius * _scale(images), sigma * _scale(images)
    reach = max(1, int(np.ceil(radius)))
    steps = np.linspace(0, radius, 4 * reach + 1)
    weights = np.exp(-0.5 * (steps / max(sigma, 1e-6)) ** 2)
    angles = np.deg2rad(90 * at.uniform("motion").astype(np.float64) - 45)
    kernels = np.zeros((len(images), 2 * reach + 1, 2 * reach + 1))
    for number, angle in enumerate(angles):
        rows = reach + np.rint(steps * np.sin(angle)).astype(np.int64)
        columns = reach + np.rint(steps * np.cos(angle)).astype(np.int64)
        np.add.at(kernels[number], (rows, columns), weights)
    return _bytes(_filtered(_shares(images), kernels))


def _zoom_blur(images: Images, index: int, at: At) -> Images:
    """The mean of the picture and of its ever larger zooms."""
    stop, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[index]
    zooms = np.arange(1, stop, step)
    shares = _shares(images)
    total = shares.copy()
    for zoom in zooms:
        total += _separable(shares, lambda side, zoom=zoom: _zoom_matrix(side, float(zoom)))
    return _bytes(total / (len(zooms) + 1))


def _glass_blur(images: Images, index: int, at: At) -> Images:
    """Each pixel comes from a place near by, drawn for each. Published as swaps one after the other, here all at once."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[index]
    sigma, reach = sigma * _scale(images), max(1, round(reach * _scale(images)))
    count, height, width = images.shape[:3]
    shares = _smooth(_shares(images), sigma)
    rows, columns = np.mgrid[0:height, 0:width]
    for time in range(times):
        draws = at.grains(f"glass{time}", 2 * height * width).reshape(count, 2, height, width)
        moves = np.floor(draws * (2 * reach + 1)).astype(np.int64) - reach
        from_rows = np.clip(rows + moves[:, 0], 0, height - 1)
        from_columns = np.clip(columns + moves[:, 1], 0, width - 1)
        shares = shares[np.arange(count)[:, None, None], from_rows, from_columns]
    return _bytes(_smooth(shares, sigma))


def _brightness(images: Images, index: int, at: At) -> Images:
    """The value of HSV raised; hue and saturation stay."""
    shares = _shares(images)
    value = shares.max(axis=3, keepdims=True)
    raised = np.minimum(value + (0.1, 0.2, 0.3, 0.4, 0.5)[index], 1)
    # A black pixel has no hue: it becomes grey.
    return _bytes(np.where(value > 0, shares * (raised / np.maximum(value, 1e-6)), raised))


def _contrast(images: Images, index: int, at: At) -> Images:
    shares = _shares(images)
    means = shares.mean(axis=(1, 2), keepdims=True)
    return _bytes((shares - means) * (0.4, 0.3, 0.2, 0.1, 0.05)[index] + means)


def _saturate(images: Images, index: int, at: At) -> Images:
    """The saturation of HSV multiplied, first down, then up. Grey stays grey, where the published code makes it red."""
    factor, added = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[index]
    shares = _shares(images)
    value = shares.max(axis=3, keepdims=True)
    lack = value - shares
    saturation = lack.max(axis=3, keepdims=True) / np.maximum(value, 1e-6)
    wanted = np.clip(saturation * factor + added, 0, 1)
    return _bytes(value - lack * (wanted / np.maximum(saturation, 1e-6)))


def _jpeg(images: Images, index: int, at: At) -> Images:
    quality = (25, 18, 15, 10, 7)[index]

    def compressed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _each(images, compressed)


def _pixelate(images: Images, index: int, at: At) -> Images:
    return _shrunk(images, (0.6, 0.5, 0.4, 0.3, 0.25)[index], Image.Resampling.BOX, Image.Resampling.BOX)


def _resolution(images: Images, index: int, at: At) -> Images:
    """A smaller picture that was enlarged again, smoothly."""
    return _shrunk(images, (0.5, 0.35, 0.25, 0.18, 0.125)[index], Image.Resampling.BICUBIC, Image.Resampling.BICUBIC)


def _shrunk(images: Images, share: float, down: Image.Resampling, up: Image.Resampling) -> Images:
    height, width = images.shape[1:3]
    small = max(1, int(width * share)), max(1, int(height * share))
    return _each(images, lambda image: image.resize(small, down).resize((width, height), up))


def _rotation(images: Images, index: int, at: At) -> Images:
    """Turned either way; corners are filled with the mirrored picture."""
    angle = np.deg2rad((5, 10, 20, 30, 45)[index]) * np.where(at.uniform("rotation") < 0.5, -1, 1)
    y, x = _centred(images)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return _bytes(_sampled(_shares(images), cos * y - sin * x, sin * y + cos * x))


def _crop(images: Images, index: int, at: At) -> Images:
    """A part of the picture, somewhere, enlarged to all of it."""
    share = (0.9, 0.8, 0.7, 0.6, 0.5)[index]
    y, x = _centred(images)
    room = (1 - share) / 2 * np.array(images.shape[1:3])
    moved = (2 * at.uniform("crop", 2).astype(np.float64) - 1) * room
    rows, columns = share * y + moved[:, 0, None, None], share * x + moved[:, 1, None, None]
    return _bytes(_sampled(_shares(images), rows, columns))


def _elastic(images: Images, index: int, at: At) -> Images:
    """A random affine map of three points, then smooth random shifts of each pixel (Simard et al. 2003)."""
    # Their constants are written for 244 pixels; they say themselves that 224 was meant.
    alpha, sigma, affine = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))[index]
    count, height, width = images.shape[:3]
    side = min(height, width) * 244 / REFERENCE_SIDE
    y, x = _centred(images)
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
    shifts = _smooth(draws, sigma * side) * (alpha * side)
    return _bytes(_sampled(_sampled(_shares(images), rows, columns), y + shifts[..., 0], x + shifts[..., 1]))


def _shares(images: Images) -> Shares:
    return images.astype(np.float32) / np.float32(255)


def _bytes(shares: NDArray[np.floating[Any]]) -> Images:
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _scale(images: Images) -> float:
    return min(images.shape[1:3]) / REFERENCE_SIDE


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """Images one by one through Pillow."""
    grey = images.shape[3] == 1
    changed = [np.asarray(change(Image.fromarray(image[:, :, 0] if grey else image))) for image in images]
    return np.stack(changed).reshape(images.shape)


def _centred(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of each pixel's centre, counted from the middle, (1, H, W)."""
    height, width = images.shape[1:3]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return (y - (height - 1) / 2)[None], (x - (width - 1) / 2)[None]


def _sampled(shares: Shares, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Shares:
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


def _smooth(shares: Shares, sigma: float) -> Shares:
    """A Gaussian blur of `sigma` pixels, the picture mirrored beyond its border."""
    return _separable(shares, lambda side: _blur_matrix(side, sigma))


def _separable(shares: Shares, matrix: Callable[[int], Shares]) -> Shares:
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
def _zoom_matrix(side: int, zoom: float) -> Shares:
    """Reads a line of `side` pixels enlarged about its middle."""
    middle = (side - 1) / 2
    places = middle + (np.arange(side) - middle) / zoom
    left = np.floor(places).astype(np.int64)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side), left), 1 - (places - left))
    np.add.at(matrix, (np.arange(side), np.minimum(left + 1, side - 1)), places - left)
    return matrix.astype(np.float32)


def _filtered(shares: Shares, kernels_NAB: NDArray[np.float64]) -> Shares:
    """Each image through a kernel of its own, by Fourier transforms, mirrored beyond the border."""
    count, height, width, _ = shares.shape
    reach = kernels_NAB.shape[1] // 2
    kernels = (kernels_NAB / kernels_NAB.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
    padded = np.pad(shares, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    size = padded.shape[1:3]
    spectra = np.fft.rfft2(padded, axes=(1, 2)) * np.fft.rfft2(kernels, s=size, axes=(1, 2))[..., None]
    whole = np.fft.irfft2(spectra, s=size, axes=(1, 2))
    # A circular product shifts by the kernel's reach and spoils as much at the other side; both are in the padding.
    return whole[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width].astype(np.float32)


_ALL = (
    Corruption("gaussian_noise", "noise of a sensor in the dark", _gaussian_noise),
    Corruption("shot_noise", "noise of too few photons", _shot_noise),
    Corruption("impulse_noise", "black and white pixels", _impulse_noise),
    Corruption("speckle_noise", "noise that grows with brightness", _speckle_noise),
    Corruption("defocus_blur", "out of focus", _defocus_blur),
    Corruption("gaussian_blur", "blurred evenly", _gaussian_blur),
    Corruption("glass_blur", "through frosted glass", _glass_blur),
    Corruption("motion_blur", "the camera moved", _motion_blur),
    Corruption("zoom_blur", "the camera came nearer", _zoom_blur),
    Corruption("brightness", "brighter", _brightness),
    Corruption("contrast", "less contrast", _contrast),
    Corruption("saturate", "colours paler or stronger", _saturate, colour=True),
    Corruption("jpeg", "low JPEG quality", _jpeg),
    Corruption("pixelate", "large pixels", _pixelate),
    Corruption("resolution", "a small picture enlarged", _resolution),
    Corruption("elastic", "bent", _elastic),
    Corruption("rotation", "turned", _rotation),
    Corruption("crop", "a part of the picture", _crop),
)
CORRUPTIONS = {each.name: each for each in _ALL}
