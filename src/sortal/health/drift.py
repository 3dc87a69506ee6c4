"""Drift: whether a head can tell the images of one split from those of another; if it can, the score speaks of other images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.finding import Finding, Severity
from sortal.health.head import Floats, out_of_fold

TOLD, CERTAIN = 0.65, 0.9
"""Area under the curve, with the lower end of its 95% interval, from which on it is a warning, and severe; chance is 0.5."""
MOST = 5_000
"""Images of each split that are looked at."""
SMALLEST = 20


def drift(
    views: Mapping[str, Floats], sources: Sequence[str], splits: Sequence[str | None], units_N: NDArray[np.int64]
) -> list[Finding]:
    """At most one finding for each split that is not training: by whichever of the `views` tells it best.

    Args:
        views: by what they show ('what they show', 'files'): numbers of shape (N, D).
        units_N: copies across splits must not be learnt on one side and asked about on the other.
    """
    split_N = np.array([split or "" for split in splits], dtype=object)
    found = []
    for other in ("val", "test"):
        judged = {
            name: judged
            for name, inputs in views.items()
            if (judged := told_apart(inputs, split_N == "train", split_N == other, units_N))
        }
        strongest = max(judged, key=lambda name: judged[name].low, default=None)
        if strongest is not None and judged[strongest].low >= TOLD:
            found.append(_told(judged[strongest], strongest, other, sources))
    return found


@dataclass(frozen=True, slots=True)
class Apart:
    """How well two splits are told apart."""

    area: float
    """Under the curve; 0.5 is not at all."""
    low: float
    """Of its 95% interval."""
    high: float
    unlike: NDArray[np.int64]
    """The rows of the other split that are most unlike training."""


def told_apart(
    inputs_ND: Floats, train_N: NDArray[np.bool_], other_N: NDArray[np.bool_], units_N: NDArray[np.int64], *, seed: int = 0
) -> Apart | None:
    """None where there are too few images of either. The interval is Hanley and McNeil's (1982)."""
    random = np.random.default_rng(seed)
    most = min(MOST, int(train_N.sum()), int(other_N.sum()))
    if most < SMALLEST:
        return None
    # As many of each, so that a head cannot win by naming the larger split.
    rows = np.concatenate([np.sort(random.permutation(np.flatnonzero(which))[:most]) for which in (train_N, other_N)])
    is_other_M = np.repeat([0, 1], most)
    if len(np.unique(units_N[rows])) < 2:
        return None
    score_M = out_of_fold(inputs_ND[rows], is_other_M, 2, units_N[rows], seed=seed)[:, 1]
    area = _area(score_M, is_other_M)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = np.sqrt(max(0.0, area * (1 - area) + (most - 1) * (first + second - 2 * area**2))) / most
    ranked = rows[np.lexsort((rows, -score_M))]
    unlike = ranked[other_N[ranked]][:10]
    return Apart(area, float(area - 1.96 * spread), float(min(1.0, area + 1.96 * spread)), unlike)


def _area(score_M: Floats, is_other_M: NDArray[np.int64]) -> float:
    """The chance that an image of the other split has the higher score than one of training; ties count a half."""
    _, which_M, counts = np.unique(score_M, return_inverse=True, return_counts=True)
    ranks_M = (np.cumsum(counts) - (counts - 1) / 2)[which_M]
    others = int(is_other_M.sum())
    return float((ranks_M[is_other_M == 1].sum() - others * (others + 1) / 2) / (others * (len(score_M) - others)))


def _told(judged: Apart, by: str, split: str, sources: Sequence[str]) -> Finding:
    severity: Severity = "severe" if judged.low >= CERTAIN else "warning"
    return Finding(
        kind="drift",
        severity=severity,
        images=tuple(sources[row] for row in judged.unlike),
        detail=f"{split} differs from train: a head that sees {by} tells them apart, with an area of {judged.area:.2f} "
        f"under the curve (95% interval {judged.low:.2f} to {judged.high:.2f}; alike would be 0.50)",
        cure=f"find out what sets {split} apart (the images named are the most unlike training); a score there speaks of other "
        "images than the model learns from",
    )
