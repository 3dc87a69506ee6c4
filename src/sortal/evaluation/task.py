"""Tasks: what differs between one label an image and several, looked up once by name, so that no caller asks which it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sortal.errors import UnknownName
from sortal.evaluation import calibration, thresholds
from sortal.evaluation import metrics as one
from sortal.evaluation import multilabel as several
from sortal.evaluation.calibrators import Activation
from sortal.evaluation.intervals import Groups

if TYPE_CHECKING:  # it takes a second to import, and prediction needs none of it
    from sortal.manifest import Manifest

Name = Literal["multi_class", "multi_label"]
Numbers = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
Thresholds = Sequence[float] | NDArray[np.float64]

UNKNOWN = -1
"""What labels hold where they are not known."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What can be said of one split's predictions; see `evaluation.scores.Scores`."""

    metrics: dict[str, Any]
    per_class: list[dict[str, Any]]
    confusion: list[Any]
    reliability: list[dict[str, Any]]


class Task(Protocol):
    """From labels to scores. Labels are class indices (N,), or 0 and 1 of shape (N, K); `UNKNOWN` where they are not known."""

    name: Name
    """The recipe's word."""
    title: str
    """As a person says it, and as it stands in `bundle.json`."""
    chosen: tuple[str, ...]
    """What is fitted on held-out images besides the calibration."""
    activation: Activation
    """What makes probabilities of logits."""

    def labels(self, manifest: "Manifest") -> Labels:
        """The labels of a manifest's rows; raises `NotSupported` where they are no labels of this task."""

    def unknown(self, images: int, classes: int) -> Labels:
        """Labels that are not known."""

    def known(self, labels: Labels) -> NDArray[np.bool_]:
        """Which rows have known labels, shape (N,)."""

    def probabilities(self, logits_NK: Numbers, temperature: float = 1.0) -> NDArray[np.float32]:
        """Probabilities of logits divided by the temperature."""

    def logits(self, probs_NK: Numbers) -> NDArray[np.float64]:
        """Logits that have these probabilities."""

    def without_temperature(self, probs_NK: Numbers, temperature: float) -> NDArray[np.float32]:
        """The probabilities as they were before their logits were divided by the temperature."""

    def fit_thresholds(self, probs_NK: Numbers, labels: Labels) -> tuple[float, ...]:
        """From which probability on each label is said; nothing where the likeliest is."""

    def said(self, probs_NK: Numbers, thresholds_K: Thresholds) -> NDArray[np.bool_] | None:
        """Which labels are said, shape (N, K); None where it is the likeliest one. Thresholds are one a label, or (N, K)."""

    def flips(self, probs_NK: Numbers, reference_NK: Numbers, thresholds_K: Sequence[float], tolerance: float) -> int:
        """Images of which two ways to compute the same say different labels, though the reference is clear by the tolerance."""

    def monitored(self, logits_NK: Numbers, labels: Labels) -> dict[str, float]:
        """The scores of one epoch that `best.monitor` and `stop.monitor` can name."""

    def judge(
        self,
        probs_NK: Numbers,
        labels: Labels,
        *,
        classes: Sequence[str],
        said_NK: NDArray[np.bool_] | None,
        thresholds_K: Sequence[float],
        before_NK: Numbers | None,
        images_K: Sequence[int] | None,
        groups_N: Groups,
    ) -> Judged:
        """All scores of one split; `before_NK`, `images_K` and `groups_N` as in `evaluation.scores.score`."""


class MultiClass:
    """One label an image: a softmax over all classes, and the likeliest is said."""

    name: Name = "multi_class"
    title = "multi-class"
    chosen: tuple[str, ...] = ()
    activation: Activation = "softmax"

    def labels(self, manifest: "Manifest") -> Labels:
        return manifest.labels_N

    def unknown(self, images: int, classes: int) -> Labels:
        return np.full(images, UNKNOWN, dtype=np.int64)

    def known(self, labels: Labels) -> NDArray[np.bool_]:
        return np.asarray(labels != UNKNOWN)

    def probabilities(self, logits_NK: Numbers, temperature: float = 1.0) -> NDArray[np.float32]:
        return calibration.with_temperature(logits_NK, temperature)

    def logits(self, probs_NK: Numbers) -> NDArray[np.float64]:
        return calibration.as_logits(probs_NK)

    def without_temperature(self, probs_NK: Numbers, temperature: float) -> NDArray[np.float32]:
        return calibration.without_temperature(probs_NK, temperature)

    def fit_thresholds(self, probs_NK: Numbers, labels: Labels) -> tuple[float, ...]:
        return ()

    def said(self, probs_NK: Numbers, thresholds_K: Thresholds) -> None:
        return None

    def flips(self, probs_NK: Numbers, reference_NK: Numbers, thresholds_K: Sequence[float], tolerance: float) -> int:
        first_two = np.sort(reference_NK, axis=1)[:, -2:]
        clear = first_two[:, 1] - first_two[:, 0] > tolerance
        return int((clear & (probs_NK.argmax(axis=1) != reference_NK.argmax(axis=1))).sum())

    def monitored(self, logits_NK: Numbers, labels: Labels) -> dict[str, float]:
        probs_NK = calibration.softmax(logits_NK)
        return {judge.__name__: judge(probs_NK, labels) for judge in (one.accuracy, one.log_loss, one.macro_f1)}

    def judge(
        self,
        probs_NK: Numbers,
        labels: Labels,
        *,
        classes: Sequence[str],
        said_NK: NDArray[np.bool_] | None,
        thresholds_K: Sequence[float],
        before_NK: Numbers | None,
        images_K: Sequence[int] | None,
        groups_N: Groups,
    ) -> Judged:
        return Judged(
            one.metrics(probs_NK, labels, before_NK=before_NK, groups_N=groups_N),
            one.per_class(probs_NK, labels, classes, images_K=images_K, groups_N=groups_N),
            one.confusion(probs_NK, labels).tolist(),
            one.reliability(probs_NK, labels, groups_N),
        )


class MultiLabel:
    """Any number of labels an image, also none: a sigmoid for each, said from a threshold of its own on."""

    name: Name = "multi_label"
    title = "multi-label"
    chosen: tuple[str, ...] = ("thresholds",)
    activation: Activation = "sigmoid"

    def labels(self, manifest: "Manifest") -> Labels:
        return manifest.labels_NK

    def unknown(self, images: int, classes: int) -> Labels:
        return np.full((images, classes), UNKNOWN, dtype=np.int64)

    def known(self, labels: Labels) -> NDArray[np.bool_]:
        return np.asarray((labels != UNKNOWN).all(axis=1))

    def probabilities(self, logits_NK: Numbers, temperature: float = 1.0) -> NDArray[np.float32]:
        return calibration.sigmoid(np.asarray(logits_NK, dtype=np.float64) / temperature).astype(np.float32)

    def logits(self, probs_NK: Numbers) -> NDArray[np.float64]:
        return calibration.as_label_logits(probs_NK)

    def without_temperature(self, probs_NK: Numbers, temperature: float) -> NDArray[np.float32]:
        return self.probabilities(self.logits(probs_NK), 1 / temperature)

    def fit_thresholds(self, probs_NK: Numbers, labels: Labels) -> tuple[float, ...]:
        return thresholds.fit_thresholds(probs_NK, labels)

    def said(self, probs_NK: Numbers, thresholds_K: Thresholds) -> NDArray[np.bool_]:
        return thresholds.decided(probs_NK, thresholds_K)

    def flips(self, probs_NK: Numbers, reference_NK: Numbers, thresholds_K: Sequence[float], tolerance: float) -> int:
        clear_NK = np.abs(reference_NK - np.asarray(thresholds_K)) > tolerance
        differ_NK = self.said(probs_NK, thresholds_K) != self.said(reference_NK, thresholds_K)
        return int((clear_NK & differ_NK).any(axis=1).sum())

    def monitored(self, logits_NK: Numbers, labels: Labels) -> dict[str, float]:
        probs_NK = calibration.sigmoid(logits_NK)
        scores = {"log_loss": several.log_loss(probs_NK, labels)}
        if labels.any():  # without a label on any image there is nothing to rank
            scores["mean_average_precision"] = several.mean_average_precision(probs_NK, labels)
        return scores

    def judge(
        self,
        probs_NK: Numbers,
        labels: Labels,
        *,
        classes: Sequence[str],
        said_NK: NDArray[np.bool_] | None,
        thresholds_K: Sequence[float],
        before_NK: Numbers | None,
        images_K: Sequence[int] | None,
        groups_N: Groups,
    ) -> Judged:
        assert said_NK is not None
        return Judged(
            several.metrics(probs_NK, said_NK, labels, before_NK=before_NK, groups_N=groups_N),
            several.per_label(probs_NK, said_NK, labels, classes, thresholds_K, images_K=images_K, groups_N=groups_N),
            several.confusion(said_NK, labels).tolist(),
            several.reliability(probs_NK, labels, groups_N),
        )


MULTI_CLASS, MULTI_LABEL = MultiClass(), MultiLabel()
# A recipe that nobody has settled yet says 'auto'; bundles say it as a person does.
TASKS: dict[str, Task] = {"auto": MULTI_CLASS}
TASKS |= {key: each for each in (MULTI_CLASS, MULTI_LABEL) for key in (each.name, each.title)}


def task(name: str) -> Task:
    """The task of that name, the recipe's word or a bundle's; raises `UnknownName`."""
    if name not in TASKS:
        raise UnknownName("task", name, [MULTI_CLASS.name, MULTI_LABEL.name])
    return TASKS[name]
