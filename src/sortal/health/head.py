"""A head in plain arithmetic: softmax regression on whatever numbers describe an image, judged only on images it did not see.

It needs no framework, so that shortcuts are found where none is installed, and gives the same bits for the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FOLDS = 5
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Weight decay for one image, of inputs whose variances sum to their number; the first fold's images choose among them."""
STEPS = 60
BLOCK = 4096
"""Rows that are held in float64 at a time."""
MOST_WORK = 2e9
"""Images times inputs times classes of one step; beyond, a head learns from a part of the images and is asked about all."""


@dataclass(frozen=True, slots=True)
class Head:
    """Weights of shape (D + 1, K), the last row for the constant, on inputs that are shifted and scaled first."""

    weights_DK: Floats
    shift_D: Floats
    scale: float

    def __call__(self, inputs_ND: Floats) -> Floats:
        """Probabilities, shape (N, K)."""
        return _softmax(_with_constant((inputs_ND - self.shift_D) * np.float32(self.scale)) @ self.weights_DK)


def fit(inputs_ND: Floats, labels_N: NDArray[np.int64], classes: int, *, decay: float, steps: int = STEPS) -> Head:
    """Softmax regression with weight decay, by accelerated gradient steps on Böhning's bound of the curvature.

    The bound is the same for all classes and steps, so it is inverted once (Böhning 1992, 'Multinomial logistic regression
    algorithm'); momentum is dropped where it points uphill (O'Donoghue and Candès 2015).
    """
    shift_D = inputs_ND.mean(axis=0)
    centred_ND = inputs_ND - shift_D
    scale = 1 / max(float(centred_ND.std()), 1e-12)
    x_ND = _with_constant(centred_ND * np.float32(scale))
    count = len(x_ND)
    penalty_D = np.full(x_ND.shape[1], decay, np.float32)
    penalty_D[-1] = 1e-6  # the constant is nearly free: classes may be rare
    bound_DD = _products(x_ND) / (2 * count) + np.diag(penalty_D.astype(np.float64))
    inverse_DD = np.linalg.inv(bound_DD).astype(np.float32)
    wanted_NK = np.zeros((count, classes), np.float32)
    wanted_NK[np.arange(count), labels_N] = 1
    weights_DK = ahead_DK = np.zeros((x_ND.shape[1], classes), np.float32)
    momentum = 1.0
    for _ in range(steps):
        gradient_DK = x_ND.T @ (_softmax(x_ND @ ahead_DK) - wanted_NK) / count + penalty_D[:, None] * ahead_DK
        next_DK = ahead_DK - inverse_DD @ gradient_DK
        if np.vdot(gradient_DK, next_DK - weights_DK) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead_DK = next_DK + np.float32((momentum - 1) / following) * (next_DK - weights_DK)
        weights_DK, momentum = next_DK, following
    return Head(weights_DK, shift_D, scale)


def out_of_fold(
    inputs_ND: Floats, labels_N: NDArray[np.int64], classes: int, units_N: NDArray[np.int64], *, seed: int = 0
) -> Floats:
    """Probabilities of every image by a head that saw neither it nor any image of its unit, shape (N, K).

    `units_N` numbers what must stay together (copies, groups). Raises `ValueError` for fewer than two units.
    """
    folds_N = folds_of(units_N, seed=seed)
    probs_NK = np.empty((len(labels_N), classes), np.float32)
    decay = 0.0
    for fold, (learnt, held) in enumerate(_parts(folds_N)):
        learnt = _some(learnt, inputs_ND.shape[1] * classes, seed)
        x_MD, y_M = inputs_ND[learnt], labels_N[learnt]
        if not fold:
            heads = [fit(x_MD, y_M, classes, decay=each) for each in DECAYS]
            losses = [_log_loss(head(inputs_ND[held]), labels_N[held]) for head in heads]
            decay = DECAYS[int(np.argmin(losses))]
            head = heads[int(np.argmin(losses))]
        else:
            head = fit(x_MD, y_M, classes, decay=decay)
        probs_NK[held] = head(inputs_ND[held])
    return probs_NK


def folds_of(units_N: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each row, the same for all of one unit, as equal in size as drawing allows."""
    unit_U, which_N = np.unique(units_N, return_inverse=True)
    if len(unit_U) < 2:
        raise ValueError("at least two units are needed to hold one out")
    folds = min(FOLDS, len(unit_U))
    fold_U = np.arange(len(unit_U)) % folds
    return np.random.default_rng(seed).permutation(fold_U)[which_N]


def _parts(folds_N: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for fold in np.unique(folds_N):
        yield np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold)


def _some(rows_M: NDArray[np.int64], each: int, seed: int) -> NDArray[np.int64]:
    most = max(1_000, int(MOST_WORK // max(1, each)))
    return rows_M if len(rows_M) <= most else np.sort(np.random.default_rng(seed).permutation(rows_M)[:most])


def _products(x_ND: Floats) -> NDArray[np.float64]:
    """`x.T @ x` in float64, by blocks of rows.

    Rounded to float32, inputs that say the same twice would seem to curve downwards, and steps along them grow without end.
    """
    return sum(
        (block_BD.T @ block_BD for block_BD in (x_ND[at : at + BLOCK].astype(np.float64) for at in range(0, len(x_ND), BLOCK))),
        start=np.zeros((x_ND.shape[1], x_ND.shape[1])),
    )


def _with_constant(inputs_ND: Floats) -> Floats:
    return np.concatenate([inputs_ND, np.ones((len(inputs_ND), 1), np.float32)], axis=1, dtype=np.float32)


def _softmax(logits_NK: Floats) -> Floats:
    logits_NK = logits_NK - logits_NK.max(axis=1, keepdims=True)
    np.exp(logits_NK, out=logits_NK)
    logits_NK /= logits_NK.sum(axis=1, keepdims=True)
    return logits_NK


def _log_loss(probs_NK: Floats, labels_N: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(probs_NK[np.arange(len(labels_N)), labels_N], 1e-12)).mean())
