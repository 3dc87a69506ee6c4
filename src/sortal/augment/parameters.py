"""From uniform draws to what is done to each image: shifts, boxes, matrices, factors. Arrays for N samples, no pixels."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sortal.augment import draws

ATTEMPTS = 10  # as in torchvision: so many boxes are drawn before one that fits is given up
ERASE_RATIO = (0.3, 3.3)

Floats = NDArray[np.float64]
Boxes = NDArray[np.int64]
"""Shape (N, 4): top, left, height, width in pixels."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where draws are made: N samples, by key, in one epoch of a training with one seed."""

    seed: int
    epoch: int
    keys_N: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys_N)

    def uniform(self, name: str, count: int = 1) -> NDArray[np.float32]:
        """Draws in [0, 1) of shape (N,), or (N, count)."""
        return draws.uniform(self.seed, self.epoch, self.keys_N, name, count)

    def grains(self, name: str, count: int) -> NDArray[np.float32]:
        """Coarser draws in (0, 1), shape (N, count), for a number a pixel."""
        return draws.grains(self.seed, self.epoch, self.keys_N, name, count)

    def normals(self, name: str, count: int) -> NDArray[np.float32]:
        """Standard normal draws, shape (N, count)."""
        return draws.normals(self.seed, self.epoch, self.keys_N, name, count)

    def only(self, rows_M: NDArray[np.int64]) -> "Position":
        """Some of the samples, whose draws stay what they were."""
        return Position(self.seed, self.epoch, self.keys_N[rows_M])


def coins(at: Position, name: str, probability: float) -> NDArray[np.bool_]:
    """Shape (N,): True with the probability given."""
    return at.uniform(name) < probability


def alternating(at: Position, name: str) -> NDArray[np.bool_]:
    """Shape (N,): a fair coin that is thrown once for each sample and then turned over from epoch to epoch."""
    return coins(replace(at, epoch=0), name, 0.5) ^ bool(at.epoch % 2)


def between(at: Position, name: str, low: float, high: float) -> Floats:
    """Shape (N,): evenly spread from `low` to `high`."""
    return low + (high - low) * at.uniform(name).astype(np.float64)


def factors(at: Position, name: str, strength: float) -> Floats:
    """Shape (N,): from max(0, 1 - strength) to 1 + strength."""
    return between(at, name, max(0.0, 1 - strength), 1 + strength)


def quarter_turns(at: Position, probability: float) -> NDArray[np.int64]:
    """Shape (N,): turns of 90 degrees against the clock, 0 to 3 of them."""
    uniform_N2 = at.uniform("quarter_turns", 2)
    return np.where(uniform_N2[:, 0] < probability, draws.integers(uniform_N2[:, 1], 0, 3), 0)


def odd_lengths(at: Position, name: str, longest: int) -> NDArray[np.int64]:
    """Shape (N,): one of 3, 5, 7, ... up to `longest`."""
    return 3 + 2 * draws.integers(at.uniform(name), 0, (longest - 3) // 2)


def grid_knots(at: Position, steps: int, strength: float) -> Floats:
    """Shape (N, 2, steps + 1): where the lines of an even grid come from, for columns (x) and rows (y), from -1 to 1.

    Cells widen or narrow by up to `strength`; together they fill the side, so that nothing is uncovered.
    """
    uniform_N2S = at.uniform("grid", 2 * steps).reshape(len(at), 2, steps).astype(np.float64)
    width_N2S = 1 + strength * (2 * uniform_N2S - 1)
    ends_N2S = np.cumsum(width_N2S, axis=2) / width_N2S.sum(axis=2, keepdims=True)
    return np.concatenate([np.full((len(at), 2, 1), -1.0), 2 * ends_N2S - 1], axis=2)


def shifts(at: Position, padding: int) -> NDArray[np.int64]:
    """Shape (N, 2): rows and columns by which a padded crop moves, from -padding to padding."""
    return draws.integers(at.uniform("crop", 2), -padding, padding)


def crop_boxes(at: Position, side: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Boxes:
    """Boxes of a share of a square's area and of a shape (width / height) drawn evenly on a log scale.

    torchvision's RandomResizedCrop: up to ten attempts until one fits; failing that, the largest centred box whose shape
    is within `ratio`.
    """
    uniform_ND = at.uniform("crop", 2 * ATTEMPTS + 2)
    height_NA, width_NA = _sides(uniform_ND[:, 2:], side, scale, ratio, wide=True)
    fits_NA = (height_NA >= 1) & (height_NA <= side) & (width_NA >= 1) & (width_NA <= side)
    height_N, width_N = _first(fits_NA, height_NA), _first(fits_NA, width_NA)
    none_N = ~fits_NA.any(axis=1)
    height_N[none_N] = round(side / max(1.0, ratio[0]))
    width_N[none_N] = round(side * min(1.0, ratio[1]))
    top_N = draws.integers(uniform_ND[:, 0], 0, side - height_N)
    left_N = draws.integers(uniform_ND[:, 1], 0, side - width_N)
    top_N[none_N] = (side - height_N[none_N]) // 2
    left_N[none_N] = (side - width_N[none_N]) // 2
    return np.stack([top_N, left_N, height_N, width_N], axis=1)


def erase_boxes(at: Position, side: int, probability: float, scale: tuple[float, float]) -> Boxes:
    """Boxes to blank, of height and width 0 for images that are left alone.

    torchvision's RandomErasing (Zhong et al. 2020): shape from 0.3 to 3.3, up to ten attempts for a box smaller than the
    image on both sides, and nothing where none was.
    """
    uniform_ND = at.uniform("erase", 2 * ATTEMPTS + 3)
    height_NA, width_NA = _sides(uniform_ND[:, 3:], side, scale, ERASE_RATIO, wide=False)
    fits_NA = (height_NA < side) & (width_NA < side)
    chosen_N = (uniform_ND[:, 0] < probability) & fits_NA.any(axis=1)
    height_N = np.where(chosen_N, _first(fits_NA, height_NA), 0)
    width_N = np.where(chosen_N, _first(fits_NA, width_NA), 0)
    top_N = draws.integers(uniform_ND[:, 1], 0, side - height_N)
    left_N = draws.integers(uniform_ND[:, 2], 0, side - width_N)
    return np.stack([top_N, left_N, height_N, width_N], axis=1)


def affine(at: Position, *, rotate: float, translate: float, shear: float, zoom: float) -> Floats:
    """Matrices of shape (N, 3, 3) from places in the new image to places in the old one, both from -1 to 1.

    Degrees for `rotate` and `shear` (along rows), a share of the side for `translate`, which is drawn for each axis.
    """
    share_N2 = (at.uniform("translate", 2).astype(np.float64) * 2 - 1) * translate
    return inverse_affine(
        between(at, "rotate", -rotate, rotate),
        share_N2,
        between(at, "zoom", 1 - zoom, 1 + zoom),
        between(at, "shear", -shear, shear),
    )


def inverse_affine(angle_N: Floats, share_N2: Floats, zoom_N: Floats, shear_N: Floats) -> Floats:
    """torchvision's inverse of: shear along rows, turn clockwise (degrees), zoom, then move by shares of the side (x, y)."""
    turn_N, tan_N = np.deg2rad(angle_N), np.tan(np.deg2rad(shear_N))
    cos_N, sin_N = np.cos(turn_N), np.sin(turn_N)
    matrix_N33 = np.zeros((len(angle_N), 3, 3))
    matrix_N33[:, 0, 0] = (cos_N - sin_N * tan_N) / zoom_N
    matrix_N33[:, 0, 1] = (sin_N + cos_N * tan_N) / zoom_N
    matrix_N33[:, 1, 0] = -sin_N / zoom_N
    matrix_N33[:, 1, 1] = cos_N / zoom_N
    # A side is 2 long in coordinates from -1 to 1.
    matrix_N33[:, :2, 2] = -np.einsum("nij,nj->ni", matrix_N33[:, :2, :2], 2 * share_N2)
    matrix_N33[:, 2, 2] = 1
    return matrix_N33


def quarter_turn_matrices(turns_N: NDArray[np.int64]) -> Floats:
    """Matrices of shape (N, 3, 3) from places in images turned against the clock by so many right angles to places before."""
    cos_N, sin_N = np.array([1.0, 0, -1, 0])[turns_N], np.array([0.0, 1, 0, -1])[turns_N]
    matrix_N33 = np.zeros((len(turns_N), 3, 3))
    matrix_N33[:, 0, 0], matrix_N33[:, 0, 1] = cos_N, -sin_N
    matrix_N33[:, 1, 0], matrix_N33[:, 1, 1] = sin_N, cos_N
    matrix_N33[:, 2, 2] = 1
    return matrix_N33


def mirror_matrices(mirrored_N: NDArray[np.bool_], axis: int) -> Floats:
    """Matrices of shape (N, 3, 3): the mirror along x (axis 0) or y (axis 1) for those chosen."""
    matrix_N33 = np.tile(np.eye(3), (len(mirrored_N), 1, 1))
    matrix_N33[mirrored_N, axis, axis] = -1
    return matrix_N33


def box_matrices(boxes_N4: NDArray[np.int64], side: int) -> Floats:
    """Matrices of shape (N, 3, 3) that lead from -1..1 across a box to -1..1 across the square of `side` that holds it."""
    top_N, left_N, height_N, width_N = boxes_N4.T
    matrix_N33 = np.zeros((len(boxes_N4), 3, 3))
    matrix_N33[:, 0, 0], matrix_N33[:, 0, 2] = width_N / side, (2 * left_N + width_N) / side - 1
    matrix_N33[:, 1, 1], matrix_N33[:, 1, 2] = height_N / side, (2 * top_N + height_N) / side - 1
    matrix_N33[:, 2, 2] = 1
    return matrix_N33


def mixup_weights(at: Position, alpha: float) -> Floats:
    """Shape (N,): the share of an image that stays itself (Zhang et al. 2018), drawn for each image."""
    return draws.beta(alpha, at.uniform("mixup"))


def cutmix_boxes(at: Position, alpha: float, height: int, width: int) -> Boxes:
    """Boxes that are filled from another image (Yun et al. 2019): centres anywhere, clipped at the border."""
    uniform_N3 = at.uniform("cutmix", 3)
    side_N = np.sqrt(1 - draws.beta(alpha, uniform_N3[:, 0]))
    ends = []
    for length, uniform_N in ((height, uniform_N3[:, 1]), (width, uniform_N3[:, 2])):
        half_N = (length * side_N).astype(np.int64) // 2
        centre_N = draws.integers(uniform_N, 0, length - 1)
        ends.append((np.clip(centre_N - half_N, 0, length), np.clip(centre_N + half_N, 0, length)))
    (top_N, bottom_N), (left_N, right_N) = ends
    return np.stack([top_N, left_N, bottom_N - top_N, right_N - left_N], axis=1)


def _sides(
    uniform_ND: NDArray[np.float32], side: int, scale: tuple[float, float], ratio: tuple[float, float], *, wide: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Heights and widths of ATTEMPTS boxes a sample; the ratio is width / height if `wide`, else height / width."""
    area_NA = side * side * (scale[0] + (scale[1] - scale[0]) * uniform_ND[:, 0::2].astype(np.float64))
    low, high = np.log(ratio)
    shape_NA = np.exp(low + (high - low) * uniform_ND[:, 1::2].astype(np.float64))
    long_NA = np.rint(np.sqrt(area_NA * shape_NA)).astype(np.int64)
    short_NA = np.rint(np.sqrt(area_NA / shape_NA)).astype(np.int64)
    return (short_NA, long_NA) if wide else (long_NA, short_NA)


def _first(fits_NA: NDArray[np.bool_], values_NA: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of each sample's first attempt that fits."""
    first_N: NDArray[np.int64] = values_NA[np.arange(len(values_NA)), fits_NA.argmax(axis=1)]
    return first_N
