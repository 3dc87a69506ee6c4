"""What a bundle's decision makes of what is told, and whether two ways to tell it end in the same labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.decision import ABSTAINED, ALWAYS_THE_LIKELIEST, DecisionRule, Novelty
from sortal.evaluation.task import Task
from sortal.exports.kind import Told


@dataclass(frozen=True, slots=True)
class Rule:
    """How a bundle makes labels of what is told."""

    task: Task
    thresholds_K: Sequence[float] = ()
    decision: DecisionRule = ALWAYS_THE_LIKELIEST
    novelty: Novelty | None = None

    @classmethod
    def of(cls, bundle: Bundle, task: Task) -> "Rule":
        return cls(task, bundle.thresholds, bundle.decision, bundle.novelty)

    def said(self, told: Told) -> NDArray[np.bool_] | None:
        """Which labels are said of each image, (N, K); None where it is the likeliest one, whatever the decision."""
        return self.task.said(told.probs_NK, self.thresholds_K)

    def decided(self, told: Told) -> NDArray[np.int64]:
        """The class that is said of each image of one label, `ABSTAINED` where none is."""
        return self.decision.indices(told.probs_NK, self._shares(told))

    def silent(self, told: Told) -> int:
        """Images of one label of which nothing is said."""
        return 0 if self.said(told) is not None else int((self.decided(told) == ABSTAINED).sum())

    def flips(self, told: Told, source: Told, tolerance: float) -> int:
        """Images of which the two say different labels after the decision, though the source is clear by the tolerance."""
        if self.decision.always_the_likeliest or self.said(source) is not None:
            return self.task.flips(told.probs_NK, source.probs_NK, self.thresholds_K, tolerance)
        return int((self._clear(source, tolerance) & (self.decided(told) != self.decided(source))).sum())

    def _shares(self, told: Told, further: float = 0.0) -> NDArray[np.float64] | None:
        if self.novelty is None or told.distances_N is None:
            return None
        return self.novelty.shares(told.distances_N + further)

    def _clear(self, told: Told, tolerance: float) -> NDArray[np.bool_]:
        """Of which images the decision stays where no number changes by more than the tolerance."""
        rule, probs_NK = self.decision, told.probs_NK.astype(np.float64)
        costs_NK = probs_NK @ np.array(rule.costs_KK) if rule.costs_KK else -probs_NK
        changed = tolerance * max((cost for row in rule.costs_KK for cost in row), default=1.0)
        lowest_N2 = np.partition(costs_NK, 1, axis=1)[:, :2]
        said_N1 = costs_NK.argmin(axis=1)[:, None]
        clear_N = lowest_N2[:, 1] - lowest_N2[:, 0] > changed
        clear_N &= np.abs(np.take_along_axis(probs_NK, said_N1, axis=1)[:, 0] - rule.threshold) > tolerance
        if rule.abstain_cost is not None:
            clear_N &= np.abs(lowest_N2[:, 0] - rule.abstain_cost) > changed
        nearer_N, further_N = self._shares(told, -tolerance), self._shares(told, tolerance)
        if nearer_N is not None and further_N is not None:
            clear_N &= (nearer_N > rule.novelty) == (further_N > rule.novelty)
        return np.asarray(clear_N)
