"""Saying nothing where one is not sure: accuracy against coverage, and the threshold that a wanted share of errors asks for.

N images with one label each; probabilities of shape (N, K), labels class indices (N,). Images of one group (a patient, a scene)
may share their fate: then intervals are over groups, and what is promised is of an image of a new group.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.decision import ABSTAINED, DecisionRule
from sortal.evaluation.intervals import Groups, told_mean, told_share, within
from sortal.evaluation.metrics import Labels, Probabilities, checked

STEPS = 20
"""Rows of a coverage curve: 100%, 95%, ... 5% of the images answered."""
NEVER = 1.0
"""The threshold where none is strict enough: only certainty passes."""


def coverage(probs_NK: Probabilities, labels_N: Labels, groups_N: Groups = None) -> list[dict[str, Any]]:
    """Accuracy of the answers that reach a threshold, from all images to the surest twentieth: rows of `threshold`,
    `coverage` (share of the images answered), `coverage_interval`, `accuracy` and `accuracy_interval`; null where all these
    images are of one group. Images of equal probability are answered together, so there may be fewer rows.
    """
    order_N, sure_N, right_N = _surest_first(probs_NK, labels_N)
    groups_N = None if groups_N is None else groups_N[order_N]
    wanted = np.unique(np.ceil(len(sure_N) * np.arange(STEPS, 0, -1) / STEPS).astype(np.int64))[::-1]
    rows: dict[float, dict[str, Any]] = {}
    for count in wanted:
        threshold = float(sure_N[count - 1])
        answered_N = sure_N >= threshold
        rows[threshold] = {
            "threshold": threshold,
            "coverage": float(answered_N.mean()),
            "coverage_interval": told_share(answered_N, groups_N),
            "accuracy": float(right_N[answered_N].mean()),
            "accuracy_interval": told_share(right_N[answered_N], within(groups_N, answered_N)),
        }
    return list(rows.values())


def threshold_for(error_rate: float, probs_NK: Probabilities, labels_N: Labels, groups_N: Groups = None) -> float:
    """The lowest probability from which on answers are expected to be wrong no more often than `error_rate`, of an image of a
    new group.

    Of n answers that reach a threshold, e of them wrong, the next is expected to be wrong with (e + 1) / (n + 1): one more
    mistake is counted than was seen, so that few images do not promise too much. In groups each image counts one part of its
    group, and the mistake that was not seen a whole one. `NEVER` where no threshold will do.
    """
    order_N, sure_N, right_N = _surest_first(probs_NK, labels_N)
    parts_N = group_parts(len(sure_N), groups_N)[order_N]
    expected_N = (np.cumsum(~right_N * parts_N) + 1) / (np.cumsum(parts_N) + 1)
    ends_N = np.append(sure_N[1:] < sure_N[:-1], True)  # images of equal probability are answered together
    good = np.flatnonzero(ends_N & (expected_N <= error_rate))
    return float(sure_N[good[-1]]) if len(good) else NEVER


def group_parts(images: int, groups_N: Groups) -> NDArray[np.float64]:
    """What part each image is of its group, shape (N,): 1 where it stands alone."""
    if groups_N is None:
        return np.ones(images)
    _, group_N, sizes_G = np.unique(groups_N, return_inverse=True, return_counts=True)
    return np.asarray(1 / sizes_G[group_N], dtype=np.float64)


def judged(
    rule: DecisionRule,
    probs_NK: Probabilities,
    labels_N: Labels,
    shares_N: NDArray[np.float64] | None = None,
    groups_N: Groups = None,
) -> dict[str, Any]:
    """What a rule's answers are worth: `coverage`, `accuracy` of the answers (null where nothing is said) and, with costs, the
    mean `cost` of an image; each with its interval (`coverage_interval` and so on), null where all these images are of one
    group.
    """
    probs_NK, labels_N = checked(probs_NK, labels_N)
    said_N = rule.indices(probs_NK, shares_N)
    answered_N = said_N != ABSTAINED
    right_N = (said_N == labels_N)[answered_N]
    told: dict[str, Any] = {
        "coverage": float(answered_N.mean()),
        "coverage_interval": told_share(answered_N, groups_N),
        "accuracy": float(right_N.mean()) if len(right_N) else None,
        "accuracy_interval": told_share(right_N, within(groups_N, answered_N)),
    }
    if rule.costs_KK:
        costs_KK, silence = np.array(rule.costs_KK), rule.abstain_cost or 0.0
        costs_N = np.where(answered_N, costs_KK[labels_N, said_N], silence)
        dearest = max(float(costs_KK.max()), silence)
        told |= {"cost": float(costs_N.mean()), "cost_interval": told_mean(costs_N, groups_N, low=0.0, high=dearest)}
    return told


def _surest_first(
    probs_NK: Probabilities, labels_N: Labels
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """The rows from the surest image on, with each one's largest probability and whether it was right."""
    probs_NK, labels_N = checked(probs_NK, labels_N)
    sure_N, right_N = probs_NK.max(axis=1), probs_NK.argmax(axis=1) == labels_N
    order_N = np.argsort(-sure_N, kind="stable")
    return order_N, sure_N[order_N], right_N[order_N]
