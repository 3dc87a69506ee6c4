"""Metrics: what probabilities are worth, given the true classes: arithmetic on arrays, every score with an interval.

N images, K classes. Probabilities have shape (N, K) and rows that sum to one; labels are class indices of shape (N,),
each in 0..K-1. Anything else is a `DataError` that names the rows. Of equal probabilities the first class wins.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation.intervals import (
    Groups,
    as_wide_as_student,
    gaps_interval,
    mean_interval,
    of_f1,
    percentiles,
    resampled,
    share_interval,
    within,
)

BINS = 15
TOP = 5
# A softmax in float32 over a thousand classes sums to one within 1e-5; what is further off is no probability.
SUM_TOLERANCE = 1e-3
# A probability of 0 for the true class counts as float32's resolution, as in scikit-learn: it costs about 16 nats.
SMALLEST = float(np.finfo(np.float32).eps)
FEW = 10
"""Mistakes below which resamples differ too little to be believed."""
BOOTSTRAPPED = ("macro_f1", "weighted_f1")

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def accuracy(probs_NK: Probabilities, labels_N: Labels) -> float:
    """Share of images whose likeliest class is the true one.

    >>> accuracy(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    0.5
    """
    probs_NK, labels_N = checked(probs_NK, labels_N)
    return float((probs_NK.argmax(axis=1) == labels_N).mean())


def top_k(probs_NK: Probabilities, labels_N: Labels, k: int = TOP) -> float:
    """Share of images whose true class is among the k likeliest."""
    probs_NK, labels_N = checked(probs_NK, labels_N)
    return float((_ranks(probs_NK, labels_N) < k).mean())


def macro_f1(probs_NK: Probabilities, labels_N: Labels) -> float:
    """Mean F1 of the classes that have images here; the others have nothing to be measured on and are left out."""
    counts_KK = confusion(probs_NK, labels_N)
    return float(_f1(counts_KK)[counts_KK.sum(axis=1) > 0].mean())


def weighted_f1(probs_NK: Probabilities, labels_N: Labels) -> float:
    """Mean F1 of the classes, each with the weight of its share of the images."""
    counts_KK = confusion(probs_NK, labels_N)
    return float(np.average(_f1(counts_KK), weights=counts_KK.sum(axis=1)))


def log_loss(probs_NK: Probabilities, labels_N: Labels) -> float:
    """Mean of -log(probability of the true class), in nats, at most about 16 an image (`SMALLEST`)."""
    return float(_losses(*checked(probs_NK, labels_N)).mean())


def calibration_error(probs_NK: Probabilities, labels_N: Labels) -> float:
    """Expected calibration error over 15 bins of equal width, 0..1 (Guo et al. 2017).

    The mean, over images, of the distance between a bin's mean confidence and its accuracy. With few images it is
    biased
    upwards: bins of a few images are never exactly calibrated.
    """
    gaps_N, bins_N = _gaps(*checked(probs_NK, labels_N))
    return float(np.abs(np.bincount(bins_N, weights=gaps_N, minlength=BINS)).sum() / len(gaps_N))


def confusion(probs_NK: Probabilities, labels_N: Labels) -> NDArray[np.int64]:
    """Images by true class (row) and likeliest class (column), shape (K, K)."""
    probs_NK, labels_N = checked(probs_NK, labels_N)
    k = probs_NK.shape[1]
    return np.bincount(labels_N * k + probs_NK.argmax(axis=1), minlength=k * k).reshape(k, k)


def reliability(probs_NK: Probabilities, labels_N: Labels, groups_N: Groups = None) -> list[dict[str, Any]]:
    """The 15 bins behind `calibration_error`, empty ones left out: `low`, `high`, `images`, mean `confidence`,
    `accuracy` and its 95% `interval` (Wilson, see `intervals.share_interval`).
    """
    probs_NK, labels_N = checked(probs_NK, labels_N)
    gaps_N, bins_N = _gaps(probs_NK, labels_N)
    right_N = probs_NK.argmax(axis=1) == labels_N
    rows = []
    for number in np.unique(bins_N):
        inside_N = bins_N == number
        images, right = int(inside_N.sum()), int(right_N[inside_N].sum())
        rows.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "images": images,
                "confidence": float(gaps_N[inside_N].mean()) + right / images,
                "accuracy": right / images,
                "interval": list(share_interval(right_N[inside_N], within(groups_N, inside_N))),
            }
        )
    return rows


def per_class(
    probs_NK: Probabilities,
    labels_N: Labels,
    classes: Sequence[str],
    *,
    images_K: Sequence[int] | None = None,
    groups_N: Groups = None,
) -> list[dict[str, Any]]:
    """One row a class, in index order: `class`, `precision`, `recall`, `f1`, `support` and 95% intervals.

    Intervals are Wilson's (`precision_interval`, `recall_interval`) and `wilson_f1`'s (`f1_interval`), wider where images come
    in groups. Scores of a class
    without images here are null, and so is the precision of a class that was never predicted; `reason` then says why,
    else it is null. `images_K`, how many images each class has in the whole data set, makes that reason more exact.
    """
    counts_KK = confusion(probs_NK, labels_N)
    labels_N, said_N = np.asarray(labels_N), np.asarray(probs_NK).argmax(axis=1)
    if len(classes) != len(counts_KK):
        raise DataError(
            f"{len(classes)} class names for probabilities of {len(counts_KK)} classes", hint="give one name a column"
        )
    rows = []
    for index, name in enumerate(classes):
        right, support = int(counts_KK[index, index]), int(counts_KK[index].sum())
        predicted = int(counts_KK[:, index].sum())
        row: dict[str, Any] = {
            "class": name,
            "precision": None,
            "recall": None,
            "f1": None,
            "support": support,
            "reason": None,
        }
        row |= {"precision_interval": None, "recall_interval": None, "f1_interval": None}
        if support == 0:
            row["reason"] = why_unscored(None if images_K is None else images_K[index])
        else:
            true_N, given_N = labels_N == index, said_N == index

            def interval(of_N: NDArray[np.bool_], hit_N: NDArray[np.bool_] = true_N & given_N) -> tuple[float, float]:
                return share_interval(hit_N[of_N], within(groups_N, of_N))

            row["recall"], row["recall_interval"] = right / support, list(interval(true_N))
            row["f1"] = 2 * right / (support + predicted)
            row["f1_interval"] = list(of_f1(interval(true_N | given_N)))
            if predicted:
                row["precision"], row["precision_interval"] = right / predicted, list(interval(given_N))
            else:
                row["reason"] = "never predicted, so it has no precision"
        rows.append(row)
    return rows


def metrics(
    probs_NK: Probabilities, labels_N: Labels, *, before_NK: Probabilities | None = None, groups_N: Groups = None
) -> dict[str, Any]:
    """The contract's metrics object, as plain numbers; `before_NK` are the probabilities before calibration, where
    there are any.

    `accuracy_interval` and the interval of `top5` are Wilson's. The others stand under `intervals` (name to [low,
    high]) and come from 1,000 bootstrap resamples of the images, or of their groups, with a fixed seed, so that equal
    predictions have equal intervals:

    - F1 scores: percentiles, as much further out as Student's t is than the normal (Hesterberg 2015); with fewer than ten
      mistakes never narrower on either side than the accuracy's interval, because resamples of a perfect or nearly perfect
      result hardly differ and would promise too much.
    - log loss: Student's t of the resamples (`intervals.mean_interval`), since losses are skewed.
    - calibration error: the errors under which one like this would be nothing unusual (`intervals.gaps_interval`), since
      chance inflates this score.

    `top5` is null with five classes or fewer, where it would always be 1. `macro_f1` is the mean over the classes that
    have images; `classes_scored` says how many these are.
    """
    probs_NK, labels_N = checked(probs_NK, labels_N)
    n, k = probs_NK.shape
    right_N = probs_NK.argmax(axis=1) == labels_N
    right = int(right_N.sum())
    counts_KK = confusion(probs_NK, labels_N)
    support_K = counts_KK.sum(axis=1)
    f1_K = _f1(counts_KK)
    scores: dict[str, Any] = {
        "accuracy": right / n,
        "accuracy_interval": list(share_interval(right_N, groups_N)),
        "top5": None,
        "macro_f1": float(f1_K[support_K > 0].mean()),
        "weighted_f1": float(np.average(f1_K, weights=support_K)),
        "log_loss": float(_losses(probs_NK, labels_N).mean()),
        "calibration_error": calibration_error(probs_NK, labels_N),
        "calibration_error_before": None if before_NK is None else calibration_error(before_NK, labels_N),
        "images": n,
        "classes_scored": int((support_K > 0).sum()),
    }
    intervals = _intervals(probs_NK, labels_N, scores, groups_N)
    if before_NK is not None:
        intervals["calibration_error_before"] = _gaps_interval(*checked(before_NK, labels_N), groups_N)
    if k > TOP:
        among_N = _ranks(probs_NK, labels_N) < TOP
        scores["top5"] = float(among_N.mean())
        intervals["top5"] = list(share_interval(among_N, groups_N))
    return scores | {"intervals": intervals}


def checked(probs_NK: Any, labels_N: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities as float64 and labels as int64, or a `DataError` that says what is wrong and in which rows."""
    probs_NK, labels_N = np.asarray(probs_NK), np.asarray(labels_N)
    if probs_NK.ndim != 2 or labels_N.shape != probs_NK.shape[:1]:
        raise DataError(
            f"probabilities of shape {probs_NK.shape} do not go with labels of shape {labels_N.shape}",
            hint="give probabilities of shape (images, classes) and one label an image",
        )
    if 0 in probs_NK.shape:
        raise DataError(
            f"there is nothing to score: probabilities have shape {probs_NK.shape}",
            hint="score a split that has images",
        )
    if probs_NK.dtype.kind not in "fiu" or labels_N.dtype.kind not in "iu":
        raise DataError(
            f"expected numbers and whole-number labels, got {probs_NK.dtype} and {labels_N.dtype}",
            hint="give labels as class indices",
        )
    probs_NK, labels_N = probs_NK.astype(np.float64), labels_N.astype(np.int64)
    finite_N = np.isfinite(probs_NK).all(axis=1)
    refuse(~finite_N, "probabilities that are not finite", "look for a training that diverged")
    sums_N = probs_NK.sum(axis=1)
    wrong_N = (np.abs(sums_N - 1) > SUM_TOLERANCE) | (probs_NK.min(axis=1) < -SUM_TOLERANCE)
    refuse(
        wrong_N,
        "numbers that are no probabilities (0 to 1, sum 1)",
        "apply a softmax to logits first",
        lambda row: f"sum {sums_N[row]:g}",
    )
    outside_N = (labels_N < 0) | (labels_N >= probs_NK.shape[1])
    refuse(
        outside_N,
        f"labels outside 0..{probs_NK.shape[1] - 1}",
        "leave out images without a label",
        lambda row: f"{labels_N[row]}",
    )
    return probs_NK, labels_N


def refuse(bad_N: NDArray[np.bool_], what: str, cure: str, value: Callable[[int], str] | None = None) -> None:
    """Raise `DataError` that names the first of the bad rows; `value` says what stands in one."""
    rows = np.flatnonzero(bad_N)
    if len(rows):
        named = ", ".join(f"{row} ({value(int(row))})" if value else f"{row}" for row in rows[:5])
        more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
        raise DataError(f"{what} in row{'s' if len(rows) > 1 else ''} {named}{more}", hint=cure)


def why_unscored(images: int | None) -> str:
    """Why a class has no scores in a split without images of it, by its images in the whole data set."""
    return {None: "no images of it here", 0: "no images of it at all", 1: "its only image is used for training"}.get(
        images, "none of its images are here"
    )


def _ranks(probs_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes stand before the true one, shape (N,)."""
    true_N1 = np.take_along_axis(probs_NK, labels_N[:, None], axis=1)
    earlier_NK = np.arange(probs_NK.shape[1]) < labels_N[:, None]
    before_NK = (probs_NK > true_N1) | ((probs_NK == true_N1) & earlier_NK)
    return np.asarray(before_NK.sum(axis=1), dtype=np.int64)


def _losses(probs_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> NDArray[np.float64]:
    true_N = probs_NK[np.arange(len(labels_N)), labels_N]
    return -np.log(np.clip(true_N, SMALLEST, 1.0))


def _gaps(probs_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Confidence minus rightness of each image, and its calibration bin; bin m holds confidences in (m/15,
    (m+1)/15].
    """
    confidence_N = probs_NK.max(axis=1)
    bins_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return confidence_N - (probs_NK.argmax(axis=1) == labels_N), bins_N


def _f1(counts_KK: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each class, shape (K,); 0 where a class neither occurs nor is predicted, which no average counts."""
    concerned_K = counts_KK.sum(axis=0) + counts_KK.sum(axis=1)
    return np.asarray(2 * np.diag(counts_KK) / np.maximum(concerned_K, 1))


def _intervals(
    probs_NK: NDArray[np.float64], labels_N: NDArray[np.int64], scores: dict[str, Any], groups_N: Groups
) -> dict[str, list[float]]:
    """Bootstrap intervals of the scores that are no proportions; see `metrics`."""
    n, k = probs_NK.shape
    cells_N = labels_N * k + probs_NK.argmax(axis=1)
    # Images sorted by their cell of the confusion matrix: the count of a cell is then the sum of one stretch of images.
    order_N = np.argsort(cells_N, kind="stable")
    probs_NK, labels_N = probs_NK[order_N], labels_N[order_N]
    groups_N = None if groups_N is None else groups_N[order_N]
    cells_M, starts_M = np.unique(cells_N[order_N], return_index=True)
    true_M, guessed_M = np.divmod(cells_M, k)
    of_label_MK = (true_M[:, None] == np.arange(k)).astype(np.float64)
    of_guess_MK = (guessed_M[:, None] == np.arange(k)).astype(np.float64)

    def statistic(counts_BN: NDArray[np.float64]) -> NDArray[np.float64]:
        counts_BM = np.add.reduceat(counts_BN, starts_M, axis=1)
        support_BK = counts_BM @ of_label_MK
        right_BK = (counts_BM * (true_M == guessed_M)) @ of_label_MK
        f1_BK = 2 * right_BK / np.maximum(support_BK + counts_BM @ of_guess_MK, 1)
        drawn_BK = support_BK > 0
        macro_B = (f1_BK * drawn_BK).sum(axis=1) / drawn_BK.sum(axis=1)
        images_B1 = support_BK.sum(axis=1, keepdims=True)  # groups may be of different sizes
        weighted_B = (f1_BK * support_BK / images_B1).sum(axis=1)
        return np.column_stack([macro_B, weighted_B])

    draws_RS = resampled(statistic, n, groups_N=groups_N)
    units = n if groups_N is None else len(np.unique(groups_N))
    low_S, high_S = percentiles(draws_RS, as_wide_as_student(0.95, units))
    below = scores["accuracy"] - scores["accuracy_interval"][0]
    above = scores["accuracy_interval"][1] - scores["accuracy"]
    few = int((true_M != guessed_M) @ np.diff(starts_M, append=n)) < FEW
    found: dict[str, list[float]] = {}
    for name, low, high in zip(BOOTSTRAPPED, low_S.tolist(), high_S.tolist(), strict=True):
        score = scores[name]
        if few:
            low, high = min(low, score - below), max(high, score + above)
        found[name] = [max(0.0, min(low, score)), min(1.0, max(high, score))]
    low, high = mean_interval(_losses(probs_NK, labels_N), groups_N)
    found["log_loss"] = [max(0.0, low), min(-float(np.log(SMALLEST)), high)]
    found["calibration_error"] = _gaps_interval(probs_NK, labels_N, groups_N)
    return found


def _gaps_interval(probs_NK: NDArray[np.float64], labels_N: NDArray[np.int64], groups_N: Groups) -> list[float]:
    """Of the calibration error."""
    gaps_N, bins_N = _gaps(probs_NK, labels_N)
    low, high = gaps_interval((bins_N[:, None] == np.arange(BINS)) * gaps_N[:, None], groups_N)
    return [low, min(1.0, high)]
