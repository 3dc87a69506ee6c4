"""Scores: all that can be said of a set of predictions, split by split, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation.metrics import SMALLEST
from sortal.evaluation.task import task
from sortal.predictions import Predictions

MOST_LOSS = -float(np.log(SMALLEST))
"""The log loss of an image that a model calls impossible, in nats."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What `sortal evaluate` says: each mapping goes from the name of a split to what was found on it.

    Attributes:
        classes: names in index order.
        metrics: metrics objects (`evaluation.metrics.metrics`, `evaluation.multilabel.metrics`).
        per_class: rows, one a class (`evaluation.metrics.per_class`, `evaluation.multilabel.per_label`).
        confusion: K rows of K counts; a row is a true class, a column a predicted one. Of several labels an image, K tables of
            two by two: a row is whether the label is there (no, yes), a column whether it was said.
        reliability: calibration bins (`evaluation.metrics.reliability`, `evaluation.multilabel.reliability`).
        task: 'multi_class' or 'multi_label'.
    """

    classes: tuple[str, ...]
    metrics: Mapping[str, dict[str, Any]]
    per_class: Mapping[str, list[dict[str, Any]]]
    confusion: Mapping[str, list[Any]]
    reliability: Mapping[str, list[dict[str, Any]]]
    task: str = "multi_class"

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return {
            "metrics": dict(self.metrics),
            "per_class": dict(self.per_class),
            "confusion": dict(self.confusion),
            "classes": list(self.classes),
        }


def losses(predictions: Predictions) -> NDArray[np.float64]:
    """The log loss of each image, shape (N,), in nats; of several labels an image their mean."""
    probs_NK, labels = predictions.probs_NK.astype(np.float64), predictions.labels_N
    if labels.ndim == 1:
        return -np.log(np.maximum(probs_NK[np.arange(len(labels)), labels], SMALLEST))
    return np.asarray(-np.log(np.maximum(np.where(labels > 0, probs_NK, 1 - probs_NK), SMALLEST)).mean(axis=1))


def score(
    predictions: Predictions,
    *,
    before: Predictions | None = None,
    images: Mapping[str, int] | None = None,
    groups: Mapping[str, int] | None = None,
) -> Scores:
    """Scores of every split that has images with a known label, in order of appearance.

    `before` are the same rows before calibration; `images` says how many images each class has in the whole data set,
    for the reason why a class has no score; `groups` gives each source a number that those of one group share, which makes
    the intervals as wide as they must be. Raises `DataError` where no image has a label.
    """
    judge = task(predictions.task)
    known_N = judge.known(predictions.labels_N)
    if not known_N.any():
        raise DataError(
            f"none of {len(predictions):,} predictions has a known label", hint="score images whose classes are given"
        )
    if before is not None and before.sources != predictions.sources:
        raise DataError("the predictions before calibration are of other images", hint="give the same rows in the same order")
    images_K = None if images is None else [images.get(name, 0) for name in predictions.classes]
    splits_N = np.array(predictions.splits_N)
    found = {}
    for split in dict.fromkeys(splits_N[known_N].tolist()):
        rows_N: NDArray[np.bool_] = known_N & (splits_N == split)
        part = predictions.where(rows_N)
        found[split] = judge.judge(
            part.probs_NK,
            part.labels_N,
            classes=part.classes,
            said_NK=part.said_NK,
            thresholds_K=part.thresholds_K,
            before_NK=None if before is None else before.probs_NK[rows_N],
            images_K=images_K,
            groups_N=None if groups is None else np.array([groups[source] for source in part.sources], dtype=np.int64),
        )
    return Scores(
        predictions.classes,
        metrics={split: each.metrics for split, each in found.items()},
        per_class={split: each.per_class for split, each in found.items()},
        confusion={split: each.confusion for split, each in found.items()},
        reliability={split: each.reliability for split, each in found.items()},
        task=judge.name,
    )
