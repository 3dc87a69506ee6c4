"""Errors of a row: which classes it confuses, which are hardest, and which images it gets wrong, over all of its seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.metrics import confusion
from sortal.predictions import Predictions

HARDEST = 2
MISTAKES_EACH = 5
MOST_PAIRS = 10


def errors_of(told: Mapping[int, Predictions]) -> dict[str, Any]:
    """Of one row's test predictions by seed, as plain data.

    `confusion`: K rows of K counts, summed over seeds. `pairs`: the pairs of classes that are confused most, both ways
    together: `classes`, `count` (mean images a run), `share` of the images of both. `hardest`: the two classes of which the
    smallest share is recognised: `class`, `recall`, `images`, and `mistakes`, five images that the most runs get wrong, the
    surest first: `source`, `predicted`, `wrong_runs`, `probability` (mean, of the class predicted).
    """
    runs = list(told.values())
    counts_KK = np.sum([confusion(each.probs_NK, each.labels_N) for each in runs], axis=0)
    recall_K = counts_KK.diagonal() / np.maximum(counts_KK.sum(axis=1), 1)
    there = np.flatnonzero(counts_KK.sum(axis=1))
    hardest = there[np.argsort(recall_K[there], kind="stable")][:HARDEST]
    classes = runs[0].classes
    return {
        "classes": list(classes),
        "runs": len(runs),
        "confusion": counts_KK.tolist(),
        "pairs": _pairs(counts_KK, classes, len(runs)),
        "hardest": [
            {
                "class": classes[index],
                "recall": float(recall_K[index]),
                "images": int(counts_KK[index].sum()) // len(runs),
                "mistakes": _mistakes(runs, int(index)),
            }
            for index in hardest
        ],
    }


def _pairs(counts_KK: NDArray[np.int64], classes: tuple[str, ...], runs: int) -> list[dict[str, Any]]:
    both_KK = np.triu(counts_KK + counts_KK.T, k=1)
    first, second = np.nonzero(both_KK)
    order = np.argsort(-both_KK[first, second], kind="stable")[:MOST_PAIRS]
    images_K = counts_KK.sum(axis=1)
    return [
        {
            "classes": [classes[a], classes[b]],
            "count": float(both_KK[a, b] / runs),
            "share": float(both_KK[a, b] / (images_K[a] + images_K[b])),
        }
        for a, b in zip(first[order], second[order], strict=True)
    ]


def _mistakes(runs: list[Predictions], label: int) -> list[dict[str, Any]]:
    sources, classes = runs[0].sources, runs[0].classes
    rows = np.flatnonzero(runs[0].labels_N == label)
    guesses_SM = np.array([each.probs_NK[rows].argmax(axis=1) for each in runs])
    wrong_M = (guesses_SM != label).sum(axis=0)
    mean_MK = np.mean([each.probs_NK[rows] for each in runs], axis=0)
    mean_MK[:, label] = -1.0  # what it was taken for is another class
    guess_M = mean_MK.argmax(axis=1)
    sure_M = mean_MK[np.arange(len(rows)), guess_M]
    order = np.lexsort((rows, -sure_M, -wrong_M))
    return [
        {
            "source": sources[rows[place]],
            "predicted": classes[guess_M[place]],
            "wrong_runs": int(wrong_M[place]),
            "probability": float(sure_M[place]),
        }
        for place in order[:MISTAKES_EACH]
        if wrong_M[place]
    ]
