"""Labels: images that are likely under the wrong one, told by what a head and the nearest images say that did not see them.

cleanlab (confident learning, Northcutt et al. 2021) decides which images it would ask about; of those the ones are told whose
label is many times less likely than by chance. It asks about every image that is hard; we want the ones that are wrong.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sortal.errors import MissingExtra
from sortal.health.finding import Finding, counted, some
from sortal.health.neighbours import Floats

ODDS = 2.5
"""Natural logarithm: how much less likely than by drawing a class at random a label has to be. Chosen on plantings of 3%
wrong labels, eight into the photographs of ants and bees and three into 5,000 pictures of CIFAR-10: 0.81 and 0.72 of them are
found, and 0.91 and 0.82 of what is found and was not found before is planted. Half as strict (1.5) it would be 0.89 and 0.79,
with 0.83 and 0.77."""
PRIOR = 1.0
"""Neighbours' worth of votes that every class has before the neighbours are asked."""
APART = 0.65
"""Share of the images of two classes, put on the right side, below which they count as alike; chance gives a half."""
TELLING = 20
"""Images, with two or more of each class, below which nothing can be said."""


def combined(probs_NK: Floats, labels_N: NDArray[np.int64], neighbours_NC: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities of a head times the share of neighbours with each label, shape (N, K), rows that sum to 1.

    `neighbours_NC` are rows of other images, -1 where there is none; the caller has left out an image's copies.
    """
    classes = probs_NK.shape[1]
    there_NC = neighbours_NC >= 0
    votes_NK = np.zeros(probs_NK.shape)
    rows, places = np.nonzero(there_NC)
    np.add.at(votes_NK, (rows, labels_N[neighbours_NC[rows, places]]), 1)
    shares_K = np.bincount(labels_N, minlength=classes) / len(labels_N)
    votes_NK = (votes_NK + PRIOR * shares_K) / (there_NC.sum(axis=1, keepdims=True) + PRIOR)
    product_NK = np.maximum(probs_NK.astype(np.float64), 1e-12) * np.maximum(votes_NK, 1e-12)
    return np.asarray(product_NK / product_NK.sum(axis=1, keepdims=True))


def suspects(probs_NK: NDArray[np.float64], labels_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows whose label is likely wrong, the surest first; `probs_NK` by heads that did not see the row, summing to 1.

    Classes of fewer than two images are left out, as if they were not there: of them nothing can be said.
    """
    counts_K = np.bincount(labels_N, minlength=probs_NK.shape[1])
    if (kept_K := np.flatnonzero(counts_K >= 2)).size < len(counts_K):
        rows_M = np.flatnonzero(np.isin(labels_N, kept_K))
        probs_MK = np.maximum(probs_NK[np.ix_(rows_M, kept_K)], 1e-12)
        labels_M = np.searchsorted(kept_K, labels_N[rows_M])
        return rows_M[suspects(probs_MK / probs_MK.sum(axis=1, keepdims=True), labels_M)] if len(kept_K) > 1 else rows_M[:0]
    if len(labels_N) < TELLING:
        return np.empty(0, np.int64)
    try:
        from cleanlab.filter import find_label_issues
    except ModuleNotFoundError as error:
        raise MissingExtra("cleanlab (to find wrong labels)", "check") from error
    asked_N = find_label_issues(labels_N, probs_NK, filter_by="both", n_jobs=1, min_examples_per_class=0)
    rows_N = np.arange(len(labels_N))
    doubt_N = -np.log(np.maximum(probs_NK[rows_N, labels_N], 1e-12))
    told_N = np.asarray(asked_N) & (doubt_N > ODDS + np.log(probs_NK.shape[1] - 1))
    found = np.flatnonzero(told_N)
    return found[np.argsort(-doubt_N[found], kind="stable")]


def wrong_labels(
    sources: Sequence[str], classes: Sequence[str], labels_N: NDArray[np.int64], probs_NK: NDArray[np.float64], by: str
) -> list[Finding]:
    """One finding about all of them, with the label that each would have, or none; `by` says who judged."""
    rows = suspects(probs_NK, labels_N)
    if not len(rows):
        return []
    best_M = probs_NK[rows].argmax(axis=1)
    told = [
        f"{sources[row]} ({classes[labels_N[row]]}, would be {classes[best]}: {probs_NK[row, best]:.2f})"
        for row, best in zip(rows.tolist(), best_M.tolist(), strict=True)
    ]
    return [
        Finding(
            kind="label",
            severity="warning",
            images=tuple(sources[row] for row in rows),
            detail=f"{counted(len(rows), 'image')} of {len(sources):,} may have the wrong label, by {by}: {some(told)}",
            cure="look at them; correct the label of those that are wrong, in training and in test alike",
            proposed=tuple(classes[best] for best in best_M),
        )
    ]


def alike(
    sources: Sequence[str], classes: Sequence[str], labels_N: NDArray[np.int64], probs_NK: NDArray[np.floating]
) -> list[Finding]:
    """Pairs of classes that can hardly be told apart by heads that did not see the images: a finding for all of them.

    Of each class only the class that its images are taken for most is tried. A pair is told where the share of its images,
    both classes counting equally, that are put on the right side, is below `APART` with its 95% interval. `images` are, of each
    of its classes, the one that is most taken for the other.
    """
    found: list[str] = []
    images: list[str] = []
    counts_K = np.bincount(labels_N, minlength=len(classes))
    sums_KK = np.zeros((len(classes), len(classes)))
    np.add.at(sums_KK, labels_N, probs_NK)
    np.fill_diagonal(sums_KK, -1)
    pairs = {tuple(sorted((label, int(sums_KK[label].argmax())))) for label in range(len(classes)) if counts_K[label]}
    for one, other in sorted(pairs):
        if min(counts_K[one], counts_K[other]) < TELLING // 2:
            continue
        right = [
            float((probs_NK[labels_N == a][:, a] > probs_NK[labels_N == a][:, b]).mean())
            for a, b in ((one, other), (other, one))
        ]
        share = sum(right) / 2
        spread = sum(r * (1 - r) / counts_K[c] for r, c in zip(right, (one, other), strict=True)) ** 0.5 / 2
        if share + 1.96 * spread < APART:
            for a, b in ((one, other), (other, one)):
                rows = np.flatnonzero(labels_N == a)
                images.append(sources[rows[np.argmax(probs_NK[rows, b] - probs_NK[rows, a])]])
            found.append(f"{classes[one]} and {classes[other]} ({share:.2f} to the right one, where chance gives 0.50)")
    if not found:
        return []
    return [
        Finding(
            kind="classes-alike",
            severity="warning",
            images=tuple(images),
            detail=f"{counted(len(found), 'pair')} of classes can hardly be told apart: {some(found)}",
            cure="join the two, or say what tells them apart and look whether the images show it",
        )
    ]
