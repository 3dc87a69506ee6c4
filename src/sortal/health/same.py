"""Same: whether two pictures show the same, pixel by pixel, as 32 x 32 grey thumbnails of the whole picture.

Fine detail is compared, without what it stands on: light and contrast do not count, and two different skies are not the same
sky. Either picture may be the other one cut a little at the edges, and one of them mirrored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 32
FINE, COARSE = (0.7, 3.0), (0.5, 2.0)
"""Standard deviations, in pixels, of the two blurs between which detail is compared: at 32 pixels a side, and at 16."""
SAME = 0.93
"""Correlation from which on two pictures are the same. Of 100 planted copies of photographs and 200 of CIFAR-10's pictures
all reach 0.946; of the nearest strangers one in a thousand reaches 0.87."""
PROMISING = 0.7
"""Correlation at 16 pixels from which on cut pictures are compared at 32: the planted cuts reach 0.86 there."""
CROPS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)
"""Shares of each side that a cut leaves; every place at steps of about a pixel is tried."""
COARSE_CROPS = (0.97, 0.92, 0.87)
NOTHING = 0.5
"""Grey levels a pixel, the root of the mean square, below which detail is nothing but rounding."""
AT_ONCE = 1_024
"""Pictures or pairs that are looked at together, which bounds memory to some 100 MB."""
CUT_AT_ONCE = 256
"""Pairs that are tried as cuts together: what is computed of them stays in a processor's cache."""

Thumbs = NDArray[np.uint8]
"""Grey thumbnails of shape (N, 32, 32)."""


def likeness(thumbs_N: Thumbs, pairs_P2: NDArray[np.int64], mirrored_P: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Correlation of the detail of two pictures as they are, -1 to 1, shape (P,); the first one mirrored where `mirrored_P`."""
    detail_ND = np.empty((len(thumbs_N), SIDE * SIDE), np.float16)  # half the memory; the third digit does not decide
    for start in range(0, len(thumbs_N), 8 * AT_ONCE):
        detail_ND[start : start + 8 * AT_ONCE] = _detail(thumbs_N[start : start + 8 * AT_ONCE], FINE)
    found = np.empty(len(pairs_P2), np.float32)
    for start in range(0, len(pairs_P2), 8 * AT_ONCE):
        part = slice(start, start + 8 * AT_ONCE)
        left, right = (detail_ND[rows].astype(np.float32) for rows in pairs_P2[part].T)
        turned = left.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(left), -1)
        found[part] = np.einsum("pd,pd->p", np.where(mirrored_P[part, None], turned, left), right)
    return found


def likeness_when_cut(thumbs_N: Thumbs, pairs_P2: NDArray[np.int64], mirrored_P: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The same where one of the two is the other one cut: the best of all cuts of either, shape (P,).

    First roughly, at half the size and few cuts; what is not promising there keeps that rough figure, but below `SAME`.
    """
    halves_N = thumbs_N.reshape(len(thumbs_N), SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    found = _best_cut(halves_N, pairs_P2, mirrored_P, _windows(SIDE // 2, COARSE_CROPS, 0.75, COARSE), COARSE)
    promising = np.flatnonzero(found >= PROMISING)
    found = np.minimum(found, np.float32(SAME - 0.01))
    found[promising] = _best_cut(thumbs_N, pairs_P2[promising], mirrored_P[promising], _windows(SIDE, CROPS, 1.0, FINE), FINE)
    return found


@dataclass(frozen=True, slots=True)
class Window:
    """A cut of some size, at every place along one side: matrices of shape (W, S, S) that take the pixels out of it and blur
    them, little and much. The detail of a picture X that is cut is A X B' - C X D', with a place of each along either side."""

    little_WSS: NDArray[np.float32]
    much_WSS: NDArray[np.float32]


@cache
def _windows(side: int, shares: Sequence[float], step: float, band: tuple[float, float]) -> list[Window]:
    fine, coarse = (_blur(side, width) for width in band)
    windows = []
    for share in shares:
        room = side * (1 - share)
        offsets = np.linspace(0, room, max(1, round(room / step) + 1))
        little_WSS = fine @ np.stack([_taken_out(side, share, offset) for offset in offsets])
        windows.append(Window(little_WSS, coarse @ little_WSS))
    return windows


def _taken_out(side: int, share: float, offset: float) -> NDArray[np.float32]:
    """The matrix of linear interpolation from `side` pixels to as many, inside a window that begins at `offset`."""
    centres = np.clip(offset + (np.arange(side) + 0.5) * share - 0.5, 0, side - 1)
    low = np.minimum(np.floor(centres).astype(int), side - 2)
    matrix = np.zeros((side, side), np.float32)
    matrix[np.arange(side), low] = 1 - (centres - low)
    matrix[np.arange(side), low + 1] = centres - low
    return matrix


def _best_cut(
    thumbs_N: NDArray[np.number], pairs_P2: NDArray[np.int64], mirrored_P: NDArray[np.bool_], windows: Sequence[Window],
    band: tuple[float, float],
) -> NDArray[np.float32]:  # fmt: skip
    best = np.full(len(pairs_P2), -1, np.float32)
    for start in range(0, len(pairs_P2), CUT_AT_ONCE):
        part = slice(start, start + CUT_AT_ONCE)
        left_P, right_P = (thumbs_N[rows].astype(np.float32) for rows in pairs_P2[part].T)
        left_P = np.where(mirrored_P[part, None, None], left_P[:, :, ::-1], left_P)
        for whole_P, cut_P in ((left_P, right_P), (right_P, left_P)):
            detail_PD = _detail(cut_P, band)
            for window in windows:
                for little, much in zip(window.little_WSS, window.much_WSS, strict=True):
                    strips = little @ whole_P, much @ whole_P
                    for places in zip(window.little_WSS, window.much_WSS, strict=True):
                        np.maximum(best[part], _correlation(strips, places, detail_PD), out=best[part])
    return best


def _correlation(
    strips: tuple[NDArray[np.float32], NDArray[np.float32]], places: tuple[NDArray[np.float32], NDArray[np.float32]],
    detail_PD: NDArray[np.float32],
) -> NDArray[np.float32]:  # fmt: skip
    """Of a cut's detail with another picture's, shape (P,): as `_detail` and a product, without writing what lies between."""
    (little_PSS, much_PSS), (little, much) = strips, places
    side = little.shape[0]
    # One product of two large matrices, not many of small ones.
    found_PD = (little_PSS.reshape(-1, side) @ little.T - much_PSS.reshape(-1, side) @ much.T).reshape(detail_PD.shape)
    sums_P = found_PD.sum(axis=1)
    lengths_P = np.sqrt(np.maximum(np.einsum("pd,pd->p", found_PD, found_PD) - sums_P**2 / side**2, 0))
    # The other picture's detail has mean 0, so that of this one drops out.
    products_P = np.einsum("pd,pd->p", found_PD, detail_PD)
    return np.where(lengths_P > NOTHING * side, products_P / np.maximum(lengths_P, 1e-6), 0).astype(np.float32)


def _detail(pictures_N: NDArray[np.number], band: tuple[float, float]) -> NDArray[np.float32]:
    """What lies between two blurs, of mean 0 and length 1, shape (N, S * S); all zeros where there is nothing."""
    side = pictures_N.shape[1]
    fine, coarse = (_blur(side, width) for width in band)
    sharp_N = fine @ pictures_N.astype(np.float32) @ fine.T
    detail_ND = (sharp_N - coarse @ sharp_N @ coarse.T).reshape(len(pictures_N), -1)
    detail_ND -= detail_ND.mean(axis=1, keepdims=True)
    lengths_N = np.linalg.norm(detail_ND, axis=1, keepdims=True)
    return np.where(lengths_N > NOTHING * side, detail_ND / np.maximum(lengths_N, 1e-6), 0).astype(np.float32)


@cache
def _blur(side: int, width: float) -> NDArray[np.float32]:
    """The matrix of a Gaussian blur along one side; weights sum to 1 at the edges too."""
    places = np.arange(side)
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
