"""The learning curve: would more images help, and of which class? Heads are fitted on ever more of the stored features.

A head takes moments, so the curve costs seconds; it is that of a linear head on features that stay as they are, of which the
features must not have been learnt from these very images.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.calibration import softmax
from sortal.evaluation.intervals import Groups, alone, share_interval, told_mean

STEPS = 5
"""Sizes, each twice the one before; the last is all there is."""
REPEATS = 3
"""Draws of images for every size but the whole."""
MOST = 4000
"""Training images, beyond which heads would take more than seconds; the curve is flat there in any case."""
STRENGTH = 100.0
"""Inverse of the penalty, for features whose squares sum to one on average."""
ITERATIONS = 100

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Fold = tuple[Ints, Ints]
"""Rows to train on, and rows that are judged by it."""


def learning_curve(
    features_ND: NDArray[np.floating[Any]],
    labels_N: Ints,
    folds: Sequence[Fold],
    classes: Sequence[str],
    *,
    groups_N: Groups = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Rows of `images` (trained on), `accuracy`, `accuracy_interval`, `recall` (class to share, null without images).

    The last row has `gain` too: by how much accuracy rose with the last doubling (`accuracy`, `interval`), and the recall of
    each class with it (`classes`). Every image that is judged is judged by heads that were not fitted on it. Empty where some
    class has fewer than two images to train on, or nothing is judged.

    Args:
        features_ND: features of N images.
        labels_N: class indices.
        folds: which rows train and which are judged by that; one pair, or one a fold of a cross-validation.
        advance: told how many heads of how many are fitted.
    """
    judged_N = np.concatenate([held for _, held in folds]) if folds else np.zeros(0, dtype=np.int64)
    if not len(judged_N) or any(min(np.bincount(labels_N[rows], minlength=len(classes))) < 2 for rows, _ in folds):
        return []
    folds = [(_stratified(rows, labels_N, min(1.0, MOST / len(rows)), seed=0), held) for rows, held in folds]
    prepared_ND = _prepared(np.asarray(features_ND, dtype=np.float64), np.concatenate([rows for rows, _ in folds]))
    place_N = np.full(len(labels_N), -1)
    place_N[judged_N] = np.arange(len(judged_N))
    rows, hits, total, done = [], [], len(folds) * (1 + (STEPS - 1) * REPEATS), 0
    for share in 2.0 ** np.arange(1 - STEPS, 1):
        right_J, repeats, images = np.zeros(len(judged_N)), REPEATS if share < 1 else 1, 0
        for train, held in folds:
            for chosen in _drawn(train, labels_N, share, repeats):
                head = fitted_head(prepared_ND[chosen], labels_N[chosen], len(classes))
                right_J[place_N[held]] += (head(prepared_ND[held]).argmax(axis=1) == labels_N[held]) / repeats
                images = max(images, len(chosen))
                done += 1
                advance(done, total)
        hits.append(right_J)
        rows.append(_row(images, right_J, labels_N[judged_N], classes, None if groups_N is None else groups_N[judged_N]))
    gained_J = hits[-1] - hits[-2]
    names = [name for name in classes if rows[-1]["recall"][name] is not None]
    rows[-1]["gain"] = {
        "accuracy": float(gained_J.mean()),
        "interval": told_mean(gained_J, None if groups_N is None else groups_N[judged_N], low=-1.0, high=1.0),
        "classes": {name: rows[-1]["recall"][name] - rows[-2]["recall"][name] for name in names},
    }
    return rows


def fitted_head(features_MD: Floats, labels_M: Ints, classes: int) -> Callable[[Floats], Floats]:
    """A linear classifier of features, fitted by penalised maximum likelihood (L-BFGS): features to probabilities."""
    from scipy.optimize import minimize

    images, dimensions = features_MD.shape
    targets_MK = np.eye(classes)[labels_M]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights_DK = flat.reshape(dimensions + 1, classes)
        probs_MK = softmax(features_MD @ weights_DK[:-1] + weights_DK[-1])
        fit = -float(np.log(np.maximum(probs_MK[np.arange(images), labels_M], 1e-30)).sum())
        wrong_MK = probs_MK - targets_MK
        slope_DK = np.concatenate([features_MD.T @ wrong_MK, wrong_MK.sum(axis=0, keepdims=True)])
        slope_DK[:-1] += weights_DK[:-1] / STRENGTH
        return fit + float((weights_DK[:-1] ** 2).sum()) / (2 * STRENGTH), slope_DK.ravel()

    start = np.zeros((dimensions + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    weights_DK = found.reshape(dimensions + 1, classes)
    return lambda features_ND: softmax(features_ND @ weights_DK[:-1] + weights_DK[-1])


def _prepared(features_ND: Floats, train_M: Ints) -> Floats:
    """Centred, of unit length on average; turned so that no more numbers are left than there are training images."""
    centred_ND = features_ND - features_ND[train_M].mean(axis=0)
    length = float(np.sqrt((centred_ND[train_M] ** 2).sum(axis=1).mean())) or 1.0
    unique_M = np.unique(train_M)
    if len(unique_M) < centred_ND.shape[1]:  # directions that no training image has cannot be learnt
        _, _, turned_RD = np.linalg.svd(centred_ND[unique_M], full_matrices=False)
        centred_ND = centred_ND @ turned_RD.T
    return np.asarray(centred_ND / length)


def _drawn(train_M: Ints, labels_N: Ints, share: float, repeats: int) -> Iterator[Ints]:
    for repeat in range(repeats):
        yield _stratified(train_M, labels_N, share, seed=1 + repeat)


def _stratified(train_M: Ints, labels_N: Ints, share: float, *, seed: int) -> Ints:
    """A share of each class's rows, at least one of each; the same for the same seed."""
    generator = np.random.default_rng(seed)
    parts = []
    for label in np.unique(labels_N[train_M]):
        rows = generator.permutation(train_M[labels_N[train_M] == label])
        parts.append(rows[: max(1, round(share * len(rows)))])
    return np.concatenate(parts)


def _row(images: int, right_J: Floats, labels_J: Ints, classes: Sequence[str], groups_J: Groups) -> dict[str, Any]:
    recall: dict[str, float | None] = {}
    for k, name in enumerate(classes):
        of_class = right_J[labels_J == k]
        recall[name] = float(of_class.mean()) if len(of_class) else None
    interval = None if alone(len(right_J), groups_J) else list(share_interval(right_J, groups_J))
    return {"images": images, "accuracy": float(right_J.mean()), "accuracy_interval": interval, "recall": recall}
