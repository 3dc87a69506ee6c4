"""Saying nothing where one is not sure: the curve, the threshold, and what a rule is worth."""

import numpy as np
import pytest

from sortal.decision import DecisionRule
from sortal.evaluation.selective import NEVER, coverage, judged, threshold_for


def surely(*pairs: tuple[float, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Two classes: the first with the given probability, right or wrong."""
    probs_NK = np.array([[sure, 1 - sure] for sure, _ in pairs])
    return probs_NK, np.array([0 if right else 1 for _, right in pairs])


def test_the_fewer_images_are_answered_the_surer_the_answers() -> None:
    probs_NK, labels_N = surely(*[(0.9, True)] * 8, (0.6, True), (0.55, False))
    rows = coverage(probs_NK, labels_N)
    assert (rows[0]["coverage"], rows[0]["accuracy"], rows[0]["threshold"]) == (1.0, 0.9, 0.55)
    assert (rows[-1]["coverage"], rows[-1]["accuracy"]) == (0.8, 1.0)  # equal probabilities are answered together
    assert all(row["accuracy_interval"][0] <= row["accuracy"] <= row["accuracy_interval"][1] for row in rows)


def test_one_image_has_one_row() -> None:
    assert [row["coverage"] for row in coverage(*surely((0.7, True)))] == [1.0]


def test_the_threshold_keeps_one_mistake_in_hand() -> None:
    probs_NK, labels_N = surely(*[(0.9, True)] * 19, *[(0.6, False)] * 5)
    assert threshold_for(0.05, probs_NK, labels_N) == pytest.approx(0.9)  # (0 + 1) / (19 + 1)
    assert threshold_for(0.049, probs_NK, labels_N) == NEVER
    assert threshold_for(0.5, probs_NK, labels_N) == pytest.approx(0.6)  # all of them: (5 + 1) / (24 + 1)


def test_a_rule_is_judged_by_what_it_answers_and_what_that_costs() -> None:
    probs_NK, labels_N = surely((0.9, True), (0.8, False), (0.55, True), (0.6, False))
    found = judged(DecisionRule(threshold=0.7), probs_NK, labels_N)
    assert (found["coverage"], found["accuracy"]) == (0.5, 0.5)
    assert "cost" not in found
    rule = DecisionRule(costs_KK=((0.0, 4.0), (1.0, 0.0)), abstain_cost=0.3)
    costly = judged(rule, probs_NK, labels_N)
    # expected: say first 0.1/0.2/0.45/0.4 each; silence where that is above 0.3
    assert costly["coverage"] == 0.5
    assert costly["cost"] == pytest.approx((0 + 1 + 0.3 + 0.3) / 4)


def test_a_rule_that_never_answers_has_no_accuracy() -> None:
    found = judged(DecisionRule(threshold=1.0), *surely((0.9, True), (0.8, True)))
    assert (found["coverage"], found["accuracy"], found["accuracy_interval"]) == (0.0, None, None)
