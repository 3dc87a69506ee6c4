"""Drift: whether what is said of the images that arrive looks like what was said of the validation images."""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.reference import Reference, confidence_bin

WINDOW = 2_000
"""Newest images that are compared."""
ENOUGH = 200
"""Images before which nothing is said: with fewer every week looks like a change."""
ALARM = 0.2
"""Population stability index from which a shift counts as large (Siddiqi, Credit Risk Scorecards, 2006)."""
TINY = 1e-3
"""The least share that a class or a bin is given, so that one that never came before does not count for everything."""


@dataclass(slots=True)
class Watch:
    """The newest answers of one model, beside its validation's."""

    reference: Reference | None
    newest: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """Class index and bin of confidence."""
    classes_K: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    bins_B: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if self.reference is not None:
            self.classes_K = np.zeros(len(self.reference.classes_K), np.int64)
            self.bins_B = np.zeros(len(self.reference.confidence_B), np.int64)

    def saw(self, probs_K: NDArray[np.float32]) -> None:
        """Count one answer, and forget the oldest."""
        if self.reference is None:
            return
        if len(self.newest) == WINDOW:
            label, bin_ = self.newest[0]
            self.classes_K[label] -= 1
            self.bins_B[bin_] -= 1
        label = int(probs_K.argmax())
        pair = label, confidence_bin(float(probs_K[label]))
        self.newest.append(pair)
        self.classes_K[pair[0]] += 1
        self.bins_B[pair[1]] += 1

    @property
    def classes(self) -> float:
        """The shift of the classes' shares; not a number before there is enough to compare."""
        return self._shift(self.reference.classes_K, self.classes_K) if self.reference else math.nan

    @property
    def confidence(self) -> float:
        """The shift of the confidence's distribution; not a number before there is enough to compare."""
        return self._shift(self.reference.confidence_B, self.bins_B) if self.reference else math.nan

    @property
    def alarm(self) -> bool:
        return any(shift > ALARM for shift in (self.classes, self.confidence))  # false for what is not a number

    def _shift(self, before: tuple[int, ...], now_B: NDArray[np.int64]) -> float:
        if len(self.newest) < ENOUGH:
            return math.nan
        return shift(np.array(before), now_B)


def shift(before_B: NDArray[np.int64], now_B: NDArray[np.int64]) -> float:
    """The population stability index of two counts, less what chance alone brings to samples of their sizes; 0 or more.

    Without a shift the index has a mean of about (B - 1) (1/n + 1/m) (Yurdakul and Naranjo, J. Risk Model Validation, 2020).
    """
    n, m = int(before_B.sum()), int(now_B.sum())
    if not n or not m:
        return math.nan
    before, now = np.maximum(before_B / n, TINY), np.maximum(now_B / m, TINY)
    index = float(((now - before) * np.log(now / before)).sum())
    return max(0.0, index - (len(before_B) - 1) * (1 / n + 1 / m))
