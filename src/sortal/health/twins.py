"""Twins: near copies found by features and proved by pixels: resized, saved again, cut a little, mirrored, lighter or darker.

Features of each picture and of its mirror name who may be whose copy, with the perceptual hash beside them; then the pixels
decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.near import chains, near_pairs
from sortal.health.neighbours import Floats, Index
from sortal.health.same import SAME, Thumbs, likeness, likeness_when_cut

NEIGHBOURS = 8
"""Of each picture, and as many of its mirror. Of 200 planted copies of CIFAR-10's pictures all but two are among the nearest
three; those two were made smaller, which the perceptual hash does not mind."""
CUT_NEIGHBOURS = 3
"""Of those, how many are also tried as cuts of each other, which takes ten times as long."""
LIKE = 0.4
"""Likeness of features from which on two pictures are compared. Of 200 planted copies two are below."""
ALIKE, COMPANY = 0.7, 1
"""Correlation from which on a picture keeps company, and how many it may have: where strangers are that much alike, likeness
proves little. Of 2,000 pictures of clothes (Fashion-MNIST) 429 pairs correlate by `SAME` and more, and 9 are told; of the 300
planted copies none is lost."""
CERTAIN = 0.985
"""Correlation that two pictures in company need to be called copies."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """Nearest rows of each of N pictures and of its mirror, with their likeness: shape (N, C) each."""

    rows_NC: NDArray[np.int64]
    likeness_NC: Floats
    mirrored_rows_NC: NDArray[np.int64]
    mirrored_likeness_NC: Floats


def nearest(white_NA: Floats, mirrored_NA: Floats) -> Nearest:
    """The neighbours of all pictures, from whitened features of them and of their mirrors; none is its own neighbour."""
    index = Index(white_NA)
    rows_NC, likeness_NC = index.nearest(white_NA, NEIGHBOURS + 1)
    own_N = np.arange(len(white_NA))
    likeness_NC = np.where(rows_NC == own_N[:, None], -1, likeness_NC)
    order_NC = np.argsort(-likeness_NC, axis=1, kind="stable")[:, :NEIGHBOURS]
    rows_NC = np.take_along_axis(rows_NC, order_NC, axis=1)
    likeness_NC = np.take_along_axis(likeness_NC, order_NC, axis=1)
    mirrored = index.nearest(mirrored_NA, NEIGHBOURS)
    return Nearest(np.where(likeness_NC == -1, -1, rows_NC), likeness_NC, *mirrored)


@dataclass(frozen=True, slots=True)
class _Candidates:
    pairs_P2: NDArray[np.int64]
    mirrored_P: NDArray[np.bool_]
    may_be_cut_P: NDArray[np.bool_]


def twins(found: Nearest, thumbs_N: Thumbs, phashes_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each of N pictures the smallest row that it is a copy of, itself where it is nobody's, shape (N,).

    Copies of copies count: what the rows of one number show is the same picture.
    """
    wanted = _candidates(found, phashes_N)
    as_is_P = likeness(thumbs_N, wanted.pairs_P2, wanted.mirrored_P)
    best_P = as_is_P.copy()
    cut = np.flatnonzero(wanted.may_be_cut_P & (as_is_P < SAME))
    best_P[cut] = np.maximum(as_is_P[cut], likeness_when_cut(thumbs_N, wanted.pairs_P2[cut], wanted.mirrored_P[cut]))
    crowded_N = _in_company(len(thumbs_N), wanted.pairs_P2, best_P)
    least_P = np.where(crowded_N[wanted.pairs_P2].any(axis=1), CERTAIN, SAME)
    return chains(len(thumbs_N), wanted.pairs_P2[best_P >= least_P])


def _in_company(count: int, pairs_P2: NDArray[np.int64], likeness_P: Floats) -> NDArray[np.bool_]:
    """Which pictures have several others that are much like them and yet no copies."""
    alike = pairs_P2[(likeness_P >= ALIKE) & (likeness_P < SAME)]
    return np.asarray(np.bincount(alike.ravel(), minlength=count) > COMPANY)


def _candidates(found: Nearest, phashes_N: NDArray[np.uint64]) -> _Candidates:
    plain = _pairs(found.rows_NC, found.likeness_NC)
    mirrored = _pairs(found.mirrored_rows_NC, found.mirrored_likeness_NC)
    close_P = np.concatenate([ranks < CUT_NEIGHBOURS for _, ranks in (plain, mirrored)])
    pairs_P2 = np.concatenate([plain[0], mirrored[0]])
    mirrored_P = np.arange(len(pairs_P2)) >= len(plain[0])
    by_hash_P2 = _same_hash(phashes_N)
    keys_P3 = np.concatenate(
        [
            np.column_stack([np.sort(pairs_P2, axis=1), mirrored_P]),
            np.column_stack([by_hash_P2, np.zeros(len(by_hash_P2), np.int64)]),
        ]
    )
    unique_P3, which_P = np.unique(keys_P3, axis=0, return_inverse=True)
    may_be_cut_P = np.zeros(len(unique_P3), bool)
    np.logical_or.at(may_be_cut_P, which_P.ravel(), np.append(close_P, np.zeros(len(by_hash_P2), bool)))
    return _Candidates(unique_P3[:, :2], unique_P3[:, 2].astype(bool), may_be_cut_P)


def _pairs(rows_NC: NDArray[np.int64], likeness_NC: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a row and one of its neighbours, shape (P, 2), and which neighbour it is, counted from 0."""
    left, rank = np.nonzero((likeness_NC >= LIKE) & (rows_NC >= 0) & (rows_NC != np.arange(len(rows_NC))[:, None]))
    return np.column_stack([left, rows_NC[left, rank]]).astype(np.int64), rank


def _same_hash(phashes_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs of rows whose hashes are near or equal; of many equal ones each with the next alone. Shape (P, 2), sorted."""
    hashes_U, which_N = np.unique(phashes_N, return_inverse=True)
    order_N = np.argsort(which_N, kind="stable")
    equal = np.flatnonzero(np.diff(which_N[order_N]) == 0)
    first_U = order_N[np.searchsorted(which_N[order_N], np.arange(len(hashes_U)))]
    pairs_P2 = np.concatenate([np.column_stack([order_N[equal], order_N[equal + 1]]), first_U[near_pairs(hashes_U)]])
    return np.sort(pairs_P2, axis=1)
