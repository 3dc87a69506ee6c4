"""Telling: what a report says of one label an image and what of several, looked up once by the task's name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Telling:
    """Words and choices that differ by task.

    Attributes:
        headline: the score of the first sentence, a share of the images.
        was_right: how that sentence says that an image was right.
        headline_name: the same as the name of a number.
        baseline: the commonest answer among the known labels, and the share of images for which it is right.
        mistakes: what was said of each row, what is true, how sure the mistake was, and which rows are mistakes.
        metrics: key, title and explanation of the scores of the table.
        confusion: the part of the page that shows what was confused.
        confusion_title: its heading.
        columns: key and title of what the table of classes has besides precision, recall and F1.
        reliability: heading, explanation and axes of the reliability diagram.
        figures: names of the figures for papers.
    """

    headline: str
    was_right: str
    headline_name: str
    baseline: Callable[[Predictions], tuple[str, float]]
    mistakes: Callable[[Predictions], "Mistakes"]
    metrics: tuple[tuple[str, str, str], ...]
    confusion: str
    confusion_title: str
    columns: tuple[tuple[str, str], ...]
    reliability: "ReliabilityWords"
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReliabilityWords:
    """What stands at a reliability diagram."""

    question: str
    title: str
    about: str
    across: str
    up: str
    across_short: str


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Of N predictions: which are mistakes, how sure each was, and what a row says of it."""

    wrong_N: NDArray[np.bool_]
    sureness_N: NDArray[np.floating[Any]]
    told: Callable[[int], Mapping[str, Any]]


def _mistakes_of_one(predictions: Predictions) -> Mistakes:
    guesses_N = predictions.probs_NK.argmax(axis=1)
    sureness_N = predictions.probs_NK[np.arange(len(predictions)), guesses_N]
    classes, labels_N = predictions.classes, predictions.labels_N

    def told(row: int) -> Mapping[str, Any]:
        return {"label": classes[labels_N[row]], "predicted": classes[guesses_N[row]], "probability": float(sureness_N[row])}

    return Mistakes((labels_N >= 0) & (guesses_N != labels_N), sureness_N, told)


def _mistakes_of_several(predictions: Predictions) -> Mistakes:
    """The sureness is that of the surest wrong decision: of a label said its probability, of one missed the rest to one."""
    assert predictions.said_NK is not None
    said_NK, there_NK = predictions.said_NK, np.asarray(predictions.labels_N > 0)
    known_N = np.asarray((predictions.labels_N >= 0).all(axis=1))
    differ_NK = (said_NK != there_NK) & known_N[:, None]
    sure_NK = np.where(said_NK, predictions.probs_NK, 1 - predictions.probs_NK)
    wrong_sure_NK = np.where(differ_NK, sure_NK, 0)
    sureness_N, surest_N = wrong_sure_NK.max(axis=1), wrong_sure_NK.argmax(axis=1)

    def names(mask_K: NDArray[np.bool_]) -> list[str]:
        return [predictions.classes[k] for k in np.flatnonzero(mask_K)]

    def told(row: int) -> Mapping[str, Any]:
        return {
            "label": joined(names(there_NK[row])),
            "predicted": joined(names(said_NK[row])),
            "probability": float(sureness_N[row]),
            "missed": names(there_NK[row] & ~said_NK[row]),
            "wrong": names(said_NK[row] & ~there_NK[row]),
            "surest": predictions.classes[surest_N[row]],
        }

    return Mistakes(differ_NK.any(axis=1), sureness_N, told)


def _commonest_class(predictions: Predictions) -> tuple[str, float]:
    counts_K = np.bincount(predictions.labels_N[predictions.labels_N >= 0], minlength=len(predictions.classes))
    return predictions.classes[int(counts_K.argmax())], float(counts_K.max() / counts_K.sum())


def _commonest_labels(predictions: Predictions) -> tuple[str, float]:
    known_NK = predictions.labels_N[(predictions.labels_N >= 0).all(axis=1)]
    sets_MK, counts_M = np.unique(known_NK, axis=0, return_counts=True)
    names = [predictions.classes[k] for k in np.flatnonzero(sets_MK[int(counts_M.argmax())])]
    return joined(names), float(counts_M.max() / counts_M.sum())


def joined(names: Sequence[str]) -> str:
    """Labels as a person says them.

    >>> joined(["cat", "dog"]), joined([])
    ('cat, dog', 'no label')
    """
    return ", ".join(names) or "no label"


_BEFORE = ("calibration_error_before", "Calibration error before", "without the fitted temperature")

MULTI_CLASS = Telling(
    headline="accuracy",
    was_right="are sorted correctly",
    headline_name="accuracy",
    baseline=_commonest_class,
    mistakes=_mistakes_of_one,
    metrics=(
        ("accuracy", "Accuracy", "share sorted correctly"),
        ("top5", "Top-5 accuracy", "true class among the five likeliest"),
        ("macro_f1", "Macro F1", "mean over classes, all alike"),
        ("weighted_f1", "Weighted F1", "mean over classes, by size"),
        ("log_loss", "Log loss", "lower is better"),
        ("calibration_error", "Calibration error", "how far confidence is from accuracy"),
        _BEFORE,
    ),
    confusion="confusion_classes.html",
    confusion_title="What was taken for what",
    columns=(),
    reliability=ReliabilityWords(
        question="Does confidence mean accuracy?",
        title="Accuracy by confidence",
        about="Accuracy by how sure the model was",
        across="confidence",
        up="accuracy",
        across_short="how sure it was",
    ),
    figures=("confusion", "reliability", "f1"),
)

MULTI_LABEL = Telling(
    headline="subset_accuracy",
    was_right="get exactly their labels",
    headline_name="share of images with exactly their labels",
    baseline=_commonest_labels,
    mistakes=_mistakes_of_several,
    metrics=(
        ("mean_average_precision", "Mean average precision", "how well each label's images are ranked first"),
        ("micro_f1", "Micro F1", "all decisions together"),
        ("macro_f1", "Macro F1", "mean over labels, all alike"),
        ("subset_accuracy", "Subset accuracy", "share of images with exactly their labels"),
        ("log_loss", "Log loss", "mean over labels, lower is better"),
        ("calibration_error", "Calibration error", "how far probabilities are from shares"),
        _BEFORE,
    ),
    confusion="confusion_labels.html",
    confusion_title="What was found and what was missed",
    columns=(("average_precision", "Average precision"), ("threshold", "Threshold")),
    reliability=ReliabilityWords(
        question="Do probabilities mean shares?",
        title="Share of labels that are there, by probability",
        about="How often a label is there, by its probability, over all labels",
        across="probability of the label",
        up="share that has the label",
        across_short="probability of the label",
    ),
    figures=("reliability", "f1"),
)

TELLINGS = {"multi_class": MULTI_CLASS, "multi_label": MULTI_LABEL}
