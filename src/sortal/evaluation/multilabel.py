"""Metrics of several labels an image: what probabilities and decisions are worth, label by label, every score with an interval.

N images, K labels. Probabilities have shape (N, K), each in 0..1 and independent of the others; `labels_NK` is 1 where an image
has the label, else 0, and a row may hold any number of ones, also none; `said_NK` is true where the label was given. Anything
else is a `DataError` that names the rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation.intervals import (
    RESAMPLES,
    Groups,
    as_wide_as_student,
    gaps_interval,
    mean_interval,
    median_corrected,
    of_f1,
    percentiles,
    resampled,
    share_interval,
    wilson,
    wilson_f1,
    within,
)
from sortal.evaluation.metrics import BINS, FEW, SMALLEST, refuse, why_unscored

BOOTSTRAPPED = ("mean_average_precision", "micro_f1", "macro_f1")
FEWEST_RESAMPLES = 200
NUMBERS = 2e8
"""Sorted numbers that all resamples together may go through, some seconds' worth; with many images and labels there are fewer
resamples, whose percentiles are a little noisier.
"""

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Said = NDArray[np.bool_]


def average_precisions(probs_NK: Probabilities, labels_NK: Labels) -> NDArray[np.float64]:
    """Average precision of each label, shape (K,): the precision at every image that has it, averaged; NaN for a label that no
    image here has. Images of equal probability count as one step, so that their order does not matter.

    >>> average_precisions(np.array([[0.9], [0.8], [0.1]]), np.array([[1], [0], [1]])).round(3).tolist()
    [0.833]
    """
    probs_NK, labels_NK = checked(probs_NK, labels_NK)
    once_1N = np.ones((1, len(probs_NK)))
    return np.array([_average_precision(probs_NK[:, k], labels_NK[:, k], once_1N)[0] for k in range(probs_NK.shape[1])])


def mean_average_precision(probs_NK: Probabilities, labels_NK: Labels) -> float:
    """Mean of `average_precisions` over the labels that some image here has; NaN where there is no such label."""
    return _mean(average_precisions(probs_NK, labels_NK))


def micro_f1(said_NK: Said, labels_NK: Labels) -> float:
    """F1 of all decisions together; 1 where there was nothing to say and nothing was said."""
    tp_K, fp_K, fn_K = _counts(said_NK, labels_NK)
    return _f1(tp_K.sum(), fp_K.sum() + fn_K.sum())


def macro_f1(said_NK: Said, labels_NK: Labels) -> float:
    """Mean F1 of the labels that some image here has, all alike; NaN where there is no such label."""
    tp_K, fp_K, fn_K = _counts(said_NK, labels_NK)
    return _mean(np.array([_f1(tp, fp + fn) if tp + fn else np.nan for tp, fp, fn in zip(tp_K, fp_K, fn_K, strict=True)]))


def subset_accuracy(said_NK: Said, labels_NK: Labels) -> float:
    """Share of images of which every label is right: all that are there and no other."""
    return float((said_NK == (labels_NK > 0)).all(axis=1).mean())


def log_loss(probs_NK: Probabilities, labels_NK: Labels) -> float:
    """Mean over images and labels of -log(probability of what is true of the label), in nats, at most about 16."""
    return float(_losses(*checked(probs_NK, labels_NK)).mean())


def calibration_error(probs_NK: Probabilities, labels_NK: Labels) -> float:
    """Expected calibration error over 15 bins of equal width, of all N x K probabilities together: the mean distance between a
    bin's mean probability and the share of its labels that are there.
    """
    gaps_NS = _gaps(*checked(probs_NK, labels_NK))
    return float(np.abs(gaps_NS.mean(axis=0)).sum())


def confusion(said_NK: Said, labels_NK: Labels) -> NDArray[np.int64]:
    """Images by whether they have a label (row: no, yes) and whether it was said (column: no, yes), shape (K, 2, 2)."""
    tp_K, fp_K, fn_K = _counts(said_NK, labels_NK)
    tn_K = len(labels_NK) - tp_K - fp_K - fn_K
    return np.stack([np.stack([tn_K, fp_K], axis=1), np.stack([fn_K, tp_K], axis=1)], axis=1)


def reliability(probs_NK: Probabilities, labels_NK: Labels, groups_N: Groups = None) -> list[dict[str, Any]]:
    """The 15 bins behind `calibration_error`, empty ones left out: `low`, `high`, `images` (pairs of image and label), mean
    `confidence`, `accuracy` (share of the labels that are there) and its 95% `interval` (Wilson; the labels of a group of
    images share their fate).
    """
    probs_NK, labels_NK = checked(probs_NK, labels_NK)
    bins_NK, rows = _bins(probs_NK), []
    for number in np.unique(bins_NK):
        inside_NK = bins_NK == number
        pairs, there = int(inside_NK.sum()), int(labels_NK[inside_NK].sum())
        rows.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "images": pairs,
                "confidence": float(probs_NK[inside_NK].mean()),
                "accuracy": there / pairs,
                "interval": list(wilson(there, pairs) if groups_N is None else _grouped(labels_NK, inside_NK, groups_N)),
            }
        )
    return rows


def _grouped(labels_NK: Labels, inside_NK: NDArray[np.bool_], groups_N: NDArray[np.int64]) -> tuple[float, float]:
    groups_NK = np.broadcast_to(groups_N[:, None], inside_NK.shape)
    return share_interval(labels_NK[inside_NK] > 0, groups_NK[inside_NK])


def per_label(
    probs_NK: Probabilities,
    said_NK: Said,
    labels_NK: Labels,
    classes: Sequence[str],
    thresholds_K: Sequence[float],
    *,
    images_K: Sequence[int] | None = None,
    groups_N: Groups = None,
) -> list[dict[str, Any]]:
    """One row a label, in index order: `class`, `precision`, `recall`, `f1` with their 95% intervals (as of
    `metrics.per_class`), `average_precision`, `threshold` and `support`.

    Scores of a label that no image here has are null, and so is the precision of one that was never said; `reason` then says
    why, else it is null. `images_K`, how many images have each label in the whole data set, makes that reason more exact.
    """
    precisions_K = average_precisions(probs_NK, labels_NK)
    if not len(classes) == len(thresholds_K) == len(precisions_K):
        raise DataError(
            f"{len(classes)} names and {len(thresholds_K)} thresholds for {len(precisions_K)} labels",
            hint="give one of each a column",
        )
    rows = []
    for k, (name, counts_22) in enumerate(zip(classes, confusion(said_NK, labels_NK).tolist(), strict=True)):
        (_, fp), (fn, tp) = counts_22
        row: dict[str, Any] = {"class": name, "precision": None, "recall": None, "f1": None, "average_precision": None}
        row |= {"threshold": float(thresholds_K[k]), "support": tp + fn, "reason": None}
        row |= {"precision_interval": None, "recall_interval": None, "f1_interval": None}
        if not tp + fn:
            row["reason"] = why_unscored(None if images_K is None else images_K[k])
        else:
            row["average_precision"] = float(precisions_K[k])
            there_N, given_N = labels_NK[:, k] > 0, said_NK[:, k]

            def interval(of_N: NDArray[np.bool_], hit_N: NDArray[np.bool_] = there_N & given_N) -> tuple[float, float]:
                return share_interval(hit_N[of_N], within(groups_N, of_N))

            row["recall"], row["recall_interval"] = tp / (tp + fn), list(interval(there_N))
            row["f1"], row["f1_interval"] = _f1(tp, fp + fn), list(of_f1(interval(there_N | given_N)))
            if tp + fp:
                row["precision"], row["precision_interval"] = tp / (tp + fp), list(interval(given_N))
            else:
                row["reason"] = "never said, so it has no precision"
        rows.append(row)
    return rows


def metrics(
    probs_NK: Probabilities,
    said_NK: Said,
    labels_NK: Labels,
    *,
    before_NK: Probabilities | None = None,
    groups_N: Groups = None,
) -> dict[str, Any]:
    """The contract's metrics object for several labels, as plain numbers; `before_NK` are the probabilities before calibration.

    Intervals are 95% and stand under `intervals`. That of `subset_accuracy` is Wilson's; those of the scores from 0 to 1 are
    percentiles of up to 1,000 bootstrap resamples of the images, or of their groups, with a fixed seed; with fewer than ten
    wrong decisions never narrower on either side than Wilson's of all decisions together (resamples of a perfect result do not
    differ). Those of log loss and
    calibration error are as in `metrics.metrics`. `classes_scored` is how many labels some image here has: the means are over
    these, and null where there are none.
    """
    probs_NK, labels_NK = checked(probs_NK, labels_NK)
    tp_K, fp_K, fn_K = _counts(said_NK, labels_NK)
    n = len(probs_NK)
    exact_N = (said_NK == (labels_NK > 0)).all(axis=1)
    scored = int(((tp_K + fn_K) > 0).sum())
    scores: dict[str, Any] = {
        "mean_average_precision": mean_average_precision(probs_NK, labels_NK) if scored else None,
        "micro_f1": micro_f1(said_NK, labels_NK),
        "macro_f1": macro_f1(said_NK, labels_NK) if scored else None,
        "subset_accuracy": float(exact_N.mean()),
        "log_loss": log_loss(probs_NK, labels_NK),
        "calibration_error": calibration_error(probs_NK, labels_NK),
        "calibration_error_before": None if before_NK is None else calibration_error(before_NK, labels_NK),
        "images": n,
        "classes_scored": scored,
    }
    hits, misses = int(tp_K.sum()), int((fp_K + fn_K).sum())
    intervals = {"subset_accuracy": list(share_interval(exact_N, groups_N))}
    pooled = wilson_f1(hits, misses)
    if before_NK is not None:
        intervals["calibration_error_before"] = _gaps_interval(*checked(before_NK, labels_NK), groups_N)
    return scores | {"intervals": intervals | _intervals(probs_NK, said_NK, labels_NK, scores, pooled, groups_N)}


def checked(probs_NK: Any, labels_NK: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities as float64 and labels as int64, or a `DataError` that says what is wrong and in which rows."""
    probs_NK, labels_NK = np.asarray(probs_NK), np.asarray(labels_NK)
    if probs_NK.ndim != 2 or labels_NK.shape != probs_NK.shape:
        raise DataError(
            f"probabilities of shape {probs_NK.shape} do not go with labels of shape {labels_NK.shape}",
            hint="give both the shape (images, labels)",
        )
    if 0 in probs_NK.shape:
        raise DataError(
            f"there is nothing to score: probabilities have shape {probs_NK.shape}", hint="score a split that has images"
        )
    probs_NK, labels_NK = probs_NK.astype(np.float64), labels_NK.astype(np.int64)
    refuse(~np.isfinite(probs_NK).all(axis=1), "probabilities that are not finite", "look for a training that diverged")
    refuse(
        ((probs_NK < 0) | (probs_NK > 1)).any(axis=1),
        "numbers that are no probabilities (0 to 1)",
        "apply a sigmoid to logits first",
    )
    refuse(
        ((labels_NK != 0) & (labels_NK != 1)).any(axis=1), "labels other than 0 and 1", "leave out images without known labels"
    )
    return probs_NK, labels_NK


def _counts(said_NK: Said, labels_NK: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """True positives, false positives and false negatives of each label, shape (K,) each."""
    there_NK = np.asarray(labels_NK) > 0
    if said_NK.shape != there_NK.shape:
        raise DataError(f"decisions of shape {said_NK.shape} do not go with labels of shape {there_NK.shape}")
    return (said_NK & there_NK).sum(axis=0), (said_NK & ~there_NK).sum(axis=0), (~said_NK & there_NK).sum(axis=0)


def _f1(hits: float, misses: float) -> float:
    return float(2 * hits / (2 * hits + misses)) if hits + misses else 1.0


def _mean(values_K: NDArray[np.float64]) -> float:
    scored_K = np.isfinite(values_K)
    return float(values_K[scored_K].mean()) if scored_K.any() else float("nan")


def _average_precision(
    probs_N: NDArray[np.float64], labels_N: NDArray[np.int64], counts_BN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision of one label, shape (B,), where image n counts `counts_BN[:, n]` times; NaN without a positive."""
    order_N = np.argsort(-probs_N, kind="stable")
    last_N = np.append(np.diff(probs_N[order_N]) != 0, True)  # of the images of equal probability
    counts_BN = counts_BN[:, order_N]
    seen_BM = np.cumsum(counts_BN, axis=1)[:, last_N]
    hits_BM = np.cumsum(counts_BN * labels_N[order_N], axis=1)[:, last_N]
    gained_BM = np.diff(hits_BM, axis=1, prepend=0)
    totals_B = hits_BM[:, -1]
    sums_B = (gained_BM * hits_BM / np.maximum(seen_BM, 1)).sum(axis=1)
    return np.asarray(np.divide(sums_B, totals_B, out=np.full(len(totals_B), np.nan), where=totals_B > 0))


def _losses(probs_NK: NDArray[np.float64], labels_NK: NDArray[np.int64]) -> NDArray[np.float64]:
    true_NK = np.where(labels_NK > 0, probs_NK, 1 - probs_NK)
    return np.asarray(-np.log(np.clip(true_NK, SMALLEST, 1.0)))


def _bins(probs_NK: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.ceil(probs_NK * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _gaps(probs_NK: NDArray[np.float64], labels_NK: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability minus truth of an image's labels, summed by bin and divided by K, shape (N, BINS)."""
    n, k = probs_NK.shape
    cells_NK = np.arange(n)[:, None] * BINS + _bins(probs_NK)
    sums = np.bincount(cells_NK.ravel(), weights=(probs_NK - labels_NK).ravel(), minlength=n * BINS)
    return np.asarray(sums.reshape(n, BINS) / k)


def _intervals(
    probs_NK: NDArray[np.float64],
    said_NK: Said,
    labels_NK: NDArray[np.int64],
    scores: dict[str, Any],
    pooled: tuple[float, float],
    groups_N: Groups,
) -> dict[str, list[float]]:
    """Bootstrap intervals of the scores that are no proportions; see `metrics`. `pooled` is Wilson's interval of micro F1."""
    n, k = probs_NK.shape
    there_NK = labels_NK > 0
    outcomes_N3K = np.concatenate([said_NK & there_NK, said_NK & ~there_NK, ~said_NK & there_NK], axis=1).astype(np.float64)

    def statistic(counts_BN: NDArray[np.float64]) -> NDArray[np.float64]:
        tp_BK, fp_BK, fn_BK = np.split(counts_BN @ outcomes_N3K, 3, axis=1)
        f1_BK = 2 * tp_BK / np.maximum(2 * tp_BK + fp_BK + fn_BK, 1)
        concerned_B = (2 * tp_BK + fp_BK + fn_BK).sum(axis=1)
        micro_B = np.where(concerned_B > 0, 2 * tp_BK.sum(axis=1) / np.maximum(concerned_B, 1), 1.0)
        precisions_BK = np.column_stack([_average_precision(probs_NK[:, j], labels_NK[:, j], counts_BN) for j in range(k)])
        drawn_BK = tp_BK + fn_BK > 0
        labels_B = np.maximum(drawn_BK.sum(axis=1), 1)
        mean_B = np.where(drawn_BK, precisions_BK, 0).sum(axis=1) / labels_B
        macro_B = np.where(drawn_BK, f1_BK, 0).sum(axis=1) / labels_B
        return np.column_stack([mean_B, micro_B, macro_B])

    resamples = int(np.clip(NUMBERS / probs_NK.size, FEWEST_RESAMPLES, RESAMPLES))
    draws_RS = resampled(statistic, n, groups_N=groups_N, resamples=resamples)
    units = n if groups_N is None else len(np.unique(groups_N))
    low_S, high_S = percentiles(draws_RS, as_wide_as_student(0.95, units))
    # Average precision is drawn too high, and rests on the images that have the label: on those of the rarest one most of all.
    fewest = min((count for count in there_NK.sum(axis=0).tolist() if count), default=units)
    if scores["mean_average_precision"] is not None:
        wide = as_wide_as_student(0.95, min(units, fewest))
        low_S[0], high_S[0] = median_corrected(draws_RS[:, 0], scores["mean_average_precision"], wide)
    few = int((said_NK != there_NK).sum()) < FEW
    below, above = scores["micro_f1"] - pooled[0], pooled[1] - scores["micro_f1"]
    found: dict[str, list[float]] = {}
    for name, low, high in zip(BOOTSTRAPPED, low_S.tolist(), high_S.tolist(), strict=True):
        score = scores[name]
        if score is None:
            continue
        if few:
            low, high = min(low, score - below), max(high, score + above)
        found[name] = [max(0.0, min(low, score)), min(1.0, max(high, score))]
    low, high = mean_interval(_losses(probs_NK, labels_NK).mean(axis=1), groups_N)
    found["log_loss"] = [max(0.0, low), min(-float(np.log(SMALLEST)), high)]
    found["calibration_error"] = _gaps_interval(probs_NK, labels_NK, groups_N)
    return found


def _gaps_interval(probs_NK: NDArray[np.float64], labels_NK: NDArray[np.int64], groups_N: Groups) -> list[float]:
    """Of the calibration error."""
    low, high = gaps_interval(_gaps(probs_NK, labels_NK), groups_N)
    return [low, min(1.0, high)]
