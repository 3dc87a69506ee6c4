"""Scores: all that can be said of a set of predictions, split by split, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluate import metrics as arithmetic
from sortal.predictions import UNKNOWN, Predictions


@dataclass(frozen=True, slots=True)
class Scores:
    """What `sortal evaluate` says: each mapping goes from the name of a split to what was found on it.

    Attributes:
        classes: names in index order.
        metrics: metrics objects (`evaluate.metrics.metrics`).
        per_class: rows, one a class (`evaluate.metrics.per_class`).
        confusion: K rows of K counts; a row is a true class, a column a predicted one.
        reliability: calibration bins (`evaluate.metrics.reliability`).
    """

    classes: tuple[str, ...]
    metrics: Mapping[str, dict[str, Any]]
    per_class: Mapping[str, list[dict[str, Any]]]
    confusion: Mapping[str, list[list[int]]]
    reliability: Mapping[str, list[dict[str, Any]]]

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return {
            "metrics": dict(self.metrics),
            "per_class": dict(self.per_class),
            "confusion": dict(self.confusion),
            "classes": list(self.classes),
        }


def score(predictions: Predictions, *, before: Predictions | None = None, images: Mapping[str, int] | None = None) -> Scores:
    """Scores of every split that has images with a known label, in order of appearance.

    `before` are the same rows before calibration; `images` says how many images each class has in the whole data set,
    for the reason why a class has no score. Raises `DataError` where no image has a label.
    """
    known_N = predictions.labels_N != UNKNOWN
    if not known_N.any():
        raise DataError(
            f"none of {len(predictions):,} predictions has a known label", hint="score images whose classes are given"
        )
    if before is not None and before.sources != predictions.sources:
        raise DataError("the predictions before calibration are of other images", hint="give the same rows in the same order")
    images_K = None if images is None else [images.get(name, 0) for name in predictions.classes]
    splits_N = np.array(predictions.splits_N)
    metrics, per_class = dict[str, dict[str, Any]](), dict[str, list[dict[str, Any]]]()
    confusion, reliability = dict[str, list[list[int]]](), dict[str, list[dict[str, Any]]]()
    for split in dict.fromkeys(splits_N[known_N].tolist()):
        rows_N: NDArray[np.bool_] = known_N & (splits_N == split)
        probs_NK, labels_N = predictions.probs_NK[rows_N], predictions.labels_N[rows_N]
        before_NK = None if before is None else before.probs_NK[rows_N]
        metrics[split] = arithmetic.metrics(probs_NK, labels_N, before_NK=before_NK)
        per_class[split] = arithmetic.per_class(probs_NK, labels_N, predictions.classes, images_K=images_K)
        confusion[split] = arithmetic.confusion(probs_NK, labels_N).tolist()
        reliability[split] = arithmetic.reliability(probs_NK, labels_N)
    return Scores(predictions.classes, metrics, per_class, confusion, reliability)
