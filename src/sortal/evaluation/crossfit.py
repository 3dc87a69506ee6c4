"""Choosing a calibration, and what it is worth, on the same held-out images without fooling ourselves: every image is judged by
a calibrator that was chosen and fitted without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.decision import Conformal
from sortal.evaluation.calibrators import (
    Activation,
    Calibrator,
    Labels,
    Logits,
    Method,
    fitted,
    uncalibrated,
)
from sortal.evaluation.intervals import Groups, count_groups, group_sums, within
from sortal.evaluation.metrics import SMALLEST
from sortal.evaluation.selective import group_parts

METHODS: tuple[Method, ...] = ("none", "temperature", "vector", "isotonic")
FOLDS = 5
FEWEST = 5
"""Held-out images that each class needs for a factor and a shift of its own."""
NESTED = 2000
"""With more images than these, leaving one fold out cannot change which method is best but by chance: it is chosen once."""
ENOUGH = {"temperature": 0.5, "vector": 1.0, "isotonic": 1.0}
"""Standard errors that a method must gain: a single number can do little harm, many can fit what is not there."""
LEVEL = 0.9
"""How often a conformal set is to hold the true class."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method and its log loss on images that it was not fitted on; None where it could not be tried, for the reason given."""

    method: Method
    log_loss: float | None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        own = {"method": self.method, "log_loss": self.log_loss}
        return own if self.log_loss is not None else own | {"reason": self.reason}


@dataclass(frozen=True, slots=True)
class Choice:
    """The calibrator of all held-out images, what it was chosen from, and honest probabilities of those images.

    Attributes:
        calibrator: of the method that was chosen, fitted on all of them.
        candidates: every method with its cross-fitted log loss.
        probs_MK: float32, each image's by a calibrator that was chosen and fitted on other folds.
    """

    calibrator: Calibrator
    candidates: tuple[Candidate, ...]
    probs_MK: NDArray[np.float32]


def chosen(
    logits_MK: Logits,
    labels: Labels,
    activation: Activation,
    folds_M: NDArray[np.int64] | None = None,
    groups_M: Groups = None,
) -> Choice:
    """Choose a method by its cross-fitted log loss, and fit it on all M images.

    From the simplest on, a method takes the place of the one before where its loss is lower by more than `ENOUGH` standard
    errors of the difference, image by image or group by group (after Breiman et al. 1984): so that what is put in, in place of
    nothing, is worth having. Labels as in `calibrators.fitted`. `folds_M` tells which images stand together; None deals them
    into five folds, those of one group into the same.
    """
    if folds_M is None:
        folds_M = dealt(len(logits_MK)) if groups_M is None else dealt_groups(groups_M)
    if len(np.unique(folds_M)) < 2:
        nothing = uncalibrated(activation)
        single = "a single image" if groups_M is None else "a single group"
        reason = f"{single} cannot be held out from itself" if len(logits_MK) else "nothing was held out"
        others = [Candidate(method, None, reason) for method in METHODS[1:]]
        return Choice(nothing, (Candidate("none", None, reason), *others), nothing(logits_MK))
    losses, candidates = _tried(logits_MK, labels, activation, folds_M)
    best = _simplest(losses, groups_M)
    probs_MK = np.empty(logits_MK.shape, dtype=np.float32)
    for fold in np.unique(folds_M):
        held_M = folds_M == fold
        rest = (logits_MK[~held_M], labels[~held_M])
        method = (
            best if len(logits_MK) > NESTED else _best_without(*rest, activation, folds_M[~held_M], within(groups_M, ~held_M))
        )
        probs_MK[held_M] = fitted(method, *rest, activation)(logits_MK[held_M])
    return Choice(fitted(best, logits_MK, labels, activation), candidates, probs_MK)


def dealt(images: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """A fold for each of M images, all of about one size; the same for the same number of images."""
    return np.random.default_rng(images).permutation(images) % folds


def dealt_groups(groups_M: NDArray[np.int64], folds: int = FOLDS) -> NDArray[np.int64]:
    """A fold for each of M images, those of one group in the same."""
    _, group_M = np.unique(groups_M, return_inverse=True)
    return dealt(int(group_M.max()) + 1, folds)[group_M] if len(group_M) else dealt(0, folds)


def conformal(
    probs_MK: NDArray[np.floating[Any]], labels_M: Labels, level: float = LEVEL, groups_M: Groups = None
) -> Conformal | None:
    """The threshold under which sets of classes hold the true one with at least this frequency, on average over new images
    like these, or over images of new groups like these (Lee, Barber and Willett 2023: each group weighs one, and the new one
    might have been missed); None where there are too few to tell (fewer than 1 / (1 - level), less one).

    `probs_MK` must be honest: of calibrators that did not see the image.
    """
    count = count_groups(len(labels_M), groups_M)
    true_M = np.asarray(probs_MK, dtype=np.float64)[np.arange(len(labels_M)), labels_M]
    order_M = np.argsort(true_M, kind="stable")
    parts_M = group_parts(len(labels_M), groups_M)[order_M]
    missed_M = np.cumsum(parts_M) - parts_M + 1  # of count + 1 groups, were this image the last one in its set
    good = np.flatnonzero(missed_M <= (1 - level) * (count + 1) + 1e-9)
    if not len(good):
        return None
    return Conformal(level, float(true_M[order_M[good[-1]]]), len(labels_M), None if groups_M is None else count)


def _best_without(
    logits_MK: Logits, labels: Labels, activation: Activation, folds_M: NDArray[np.int64], groups_M: Groups
) -> Method:
    if len(np.unique(folds_M)) < 2:
        return "none"
    return _simplest(_tried(logits_MK, labels, activation, folds_M)[0], groups_M)


def _tried(
    logits_MK: Logits, labels: Labels, activation: Activation, folds_M: NDArray[np.int64]
) -> tuple[dict[Method, NDArray[np.float64]], tuple[Candidate, ...]]:
    """Each method's loss of each image, by a calibrator fitted on the other folds, and the same as candidates."""
    losses: dict[Method, NDArray[np.float64]] = {}
    candidates = []
    for method in METHODS:
        reason = _too_few(method, labels, logits_MK.shape[1])
        if reason:
            candidates.append(Candidate(method, None, reason))
            continue
        losses_M = np.empty(len(logits_MK))
        for fold in np.unique(folds_M):
            held_M = folds_M == fold
            calibrator = fitted(method, logits_MK[~held_M], labels[~held_M], activation)
            losses_M[held_M] = _losses(calibrator(logits_MK[held_M]), labels[held_M])
        losses[method] = losses_M
        candidates.append(Candidate(method, float(losses_M.mean())))
    return losses, tuple(candidates)


def _too_few(method: Method, labels: Labels, classes: int) -> str:
    """Why a method cannot be tried on images of these labels; '' where it can."""
    if method != "vector":
        return ""
    counts_K = np.bincount(labels, minlength=classes) if labels.ndim == 1 else labels.sum(axis=0)
    fewest = int(min(counts_K))
    return "" if fewest >= FEWEST else f"a class has {fewest} held-out images, and {FEWEST} are needed for numbers of its own"


def _simplest(losses: dict[Method, NDArray[np.float64]], groups_M: Groups) -> Method:
    """The method to take, by each one's loss of each image; see `chosen`."""
    taken: Method = "none"
    for method in sorted(losses, key=METHODS.index)[1:]:
        gained_M = losses[taken] - losses[method]
        if gained_M.mean() > ENOUGH[method] * _standard_error(gained_M, groups_M):
            taken = method
    return taken


def _standard_error(values_M: NDArray[np.float64], groups_M: Groups) -> float:
    """Of their mean; infinite of a single group."""
    sums_G1, sizes_G = group_sums(values_M[:, None], groups_M)
    count, images = len(sizes_G), len(values_M)
    if count < 2:
        return float("inf")
    strayed_G = sums_G1[:, 0] - sizes_G * values_M.mean()
    return float(np.sqrt((strayed_G**2).sum() * count / (count - 1))) / images


def _losses(probs_MK: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    """The log loss of each image, shape (M,); of several labels an image their mean."""
    probs_MK = probs_MK.astype(np.float64)
    if labels.ndim == 1:
        return -np.log(np.maximum(probs_MK[np.arange(len(labels)), labels], SMALLEST))
    true_MK = np.where(labels > 0, probs_MK, 1 - probs_MK)
    return np.asarray(-np.log(np.maximum(true_MK, SMALLEST)).mean(axis=1))


def told(choice: Choice) -> str:
    """Why that method, in words, for a person."""
    named = [f"{each.method} {each.log_loss:.4f}" for each in choice.candidates if each.log_loss is not None]
    if not named:
        return choice.candidates[0].reason
    return f"by cross-fitted log loss ({', '.join(named)}; a simpler one stays where little is gained)"


def candidates_json(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """As they stand in reports and bundles."""
    return [each.to_json() for each in candidates]
