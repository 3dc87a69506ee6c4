"""Thresholds: the probability from which a label is said, fitted label by label, and decisions by them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIDDLE = 0.5
"""The threshold of a label that there is nothing to fit on."""


def decided(probs_NK: NDArray[np.floating[Any]], thresholds_K: Sequence[float] | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which labels are said, shape (N, K): those whose probability reaches the threshold, of each label or of each number.

    >>> decided(np.array([[0.2, 0.7]]), [0.2, 0.8]).tolist()
    [[True, False]]
    """
    return np.asarray(probs_NK.astype(np.float64) >= np.asarray(thresholds_K, dtype=np.float64))


def fit_thresholds(probs_NK: NDArray[np.floating[Any]], labels_NK: NDArray[np.integer[Any]]) -> tuple[float, ...]:
    """The threshold of each label under which its F1 on these images is largest, K numbers in 0..1.

    Where several are as good, the one nearest to a half is taken; within a gap between two probabilities that is its middle,
    unless a half lies in it. A label that all or none of the images have keeps a half: there is nothing to tell apart. Of a
    handful of positives the answer is uncertain; it is what they say.
    """
    columns = zip(probs_NK.astype(np.float64).T, labels_NK.T, strict=True)
    return tuple(_best(probs_N, labels_N > 0) for probs_N, labels_N in columns)


def _best(probs_N: NDArray[np.float64], there_N: NDArray[np.bool_]) -> float:
    if there_N.all() or not there_N.any():
        return MIDDLE
    values_M, groups_N = np.unique(-probs_N, return_inverse=True)
    values_M = -values_M  # the largest first: saying the label down to value m takes in groups 0 to m
    said_M = np.cumsum(np.bincount(groups_N, minlength=len(values_M)))
    hits_M = np.cumsum(np.bincount(groups_N, weights=there_N, minlength=len(values_M)))
    f1_M = 2 * hits_M / (said_M + there_N.sum())
    below_M = np.append(values_M[1:], 0.0)  # a threshold above this, and up to the value itself, says the same
    middles_M = np.where((below_M < MIDDLE) & (values_M >= MIDDLE), MIDDLE, (values_M + below_M) / 2)
    best_M = np.flatnonzero(f1_M >= f1_M.max() - 1e-12)
    return float(middles_M[best_M[np.argmin(np.abs(middles_M[best_M] - MIDDLE))]])
