"""Saying nothing where one is not sure: accuracy against coverage, and the threshold that a wanted share of errors asks for.

N images with one label each; probabilities of shape (N, K), labels class indices (N,).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.decision import ABSTAINED, DecisionRule
from sortal.evaluation.intervals import wilson
from sortal.evaluation.metrics import Labels, Probabilities, checked

STEPS = 20
"""Rows of a coverage curve: 100%, 95%, ... 5% of the images answered."""
NEVER = 1.0
"""The threshold where none is strict enough: only certainty passes."""


def coverage(probs_NK: Probabilities, labels_N: Labels) -> list[dict[str, Any]]:
    """Accuracy of the answers that reach a threshold, from all images to the surest twentieth: rows of `threshold`,
    `coverage` (share of the images answered), `accuracy` and `accuracy_interval` (Wilson). Images of equal probability are
    answered together, so there may be fewer rows.
    """
    sure_N, right_N = _surest_first(probs_NK, labels_N)
    wanted = np.unique(np.ceil(len(sure_N) * np.arange(STEPS, 0, -1) / STEPS).astype(np.int64))[::-1]
    rows: dict[float, dict[str, Any]] = {}
    for count in wanted:
        threshold = float(sure_N[count - 1])
        answered = int((sure_N >= threshold).sum())
        right = int(right_N[:answered].sum())
        rows[threshold] = {
            "threshold": threshold,
            "coverage": answered / len(sure_N),
            "accuracy": right / answered,
            "accuracy_interval": list(wilson(right, answered)),
        }
    return list(rows.values())


def threshold_for(error_rate: float, probs_NK: Probabilities, labels_N: Labels) -> float:
    """The lowest probability from which on answers are expected to be wrong no more often than `error_rate`.

    Of n answers that reach a threshold, e of them wrong, the next is expected to be wrong with (e + 1) / (n + 1): one more
    mistake is counted than was seen, so that few images do not promise too much. `NEVER` where no threshold will do.
    """
    sure_N, right_N = _surest_first(probs_NK, labels_N)
    expected_N = (np.cumsum(~right_N) + 1) / (np.arange(len(sure_N)) + 2)
    ends_N = np.append(sure_N[1:] < sure_N[:-1], True)  # images of equal probability are answered together
    good = np.flatnonzero(ends_N & (expected_N <= error_rate))
    return float(sure_N[good[-1]]) if len(good) else NEVER


def judged(
    rule: DecisionRule, probs_NK: Probabilities, labels_N: Labels, shares_N: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """What a rule's answers are worth: `coverage`, its `coverage_interval`, `accuracy` of the answers with
    `accuracy_interval` (both null where nothing is said) and, with costs, the mean `cost` of an image.
    """
    probs_NK, labels_N = checked(probs_NK, labels_N)
    said_N = rule.indices(probs_NK, shares_N)
    answered_N = said_N != ABSTAINED
    answered, right = int(answered_N.sum()), int((said_N == labels_N).sum())
    told: dict[str, Any] = {
        "coverage": answered / len(labels_N),
        "coverage_interval": list(wilson(answered, len(labels_N))),
        "accuracy": right / answered if answered else None,
        "accuracy_interval": list(wilson(right, answered)) if answered else None,
    }
    if rule.costs_KK:
        costs_N = np.array(rule.costs_KK)[labels_N, said_N]
        told["cost"] = float(np.where(answered_N, costs_N, rule.abstain_cost or 0.0).mean())
    return told


def _surest_first(probs_NK: Probabilities, labels_N: Labels) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each image's largest probability and whether it was right, sorted by the first."""
    probs_NK, labels_N = checked(probs_NK, labels_N)
    sure_N, right_N = probs_NK.max(axis=1), probs_NK.argmax(axis=1) == labels_N
    order_N = np.argsort(-sure_N, kind="stable")
    return sure_N[order_N], right_N[order_N]
