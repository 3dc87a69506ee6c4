"""Saying nothing where one is not sure: the curve, the threshold, and what a rule is worth."""

import numpy as np
import pytest

from sortal.decision import DecisionRule
from sortal.evaluation import crossfit
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


def test_answers_of_one_group_count_as_one_and_of_lone_images_each() -> None:
    probs_NK, labels_N = surely(*[(0.9, True)] * 19, *[(0.6, False)] * 5)
    each = np.arange(24)
    assert threshold_for(0.05, probs_NK, labels_N, each) == threshold_for(0.05, probs_NK, labels_N)
    pairs = np.append(np.arange(18) // 2, np.arange(9, 15))
    assert threshold_for(0.05, probs_NK, labels_N, pairs) == NEVER  # (0 + 1) / (10 + 1)
    assert threshold_for(0.1, probs_NK, labels_N, pairs) == pytest.approx(0.9)


def test_what_is_measured_on_one_group_has_no_interval_and_on_groups_a_wider_one() -> None:
    probs_NK, labels_N = surely(*[(0.9, True), (0.8, True), (0.7, False), (0.6, True)] * 10)
    one, scenes = np.zeros(40, np.int64), np.repeat(np.arange(10), 4)
    rule = DecisionRule(threshold=0.75, costs_KK=((0.0, 4.0), (1.0, 0.0)), abstain_cost=0.3)
    for found in (*coverage(probs_NK, labels_N, one), judged(rule, probs_NK, labels_N, groups_N=one)):
        intervals = {key: value for key, value in found.items() if key.endswith("_interval")}
        assert set(intervals) >= {"coverage_interval", "accuracy_interval"}
        assert set(intervals.values()) == {None}
    worse = np.sort(labels_N)  # whole scenes are wrong
    wide, narrow = coverage(probs_NK, worse, scenes)[0], coverage(probs_NK, worse)[0]
    assert wide["accuracy_interval"][0] < narrow["accuracy_interval"][0]
    assert wide["accuracy_interval"][1] > narrow["accuracy_interval"][1]


def test_sets_and_answers_keep_their_promise_for_images_of_a_new_group_where_lone_images_would_not() -> None:
    generator, scenes = np.random.default_rng(0), 12

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scenes of 1 or of 30 images; some are hard throughout, and the large ones are easy."""
        sizes = np.where(generator.random(count) < 0.5, 1, 30)
        groups_N = np.repeat(np.arange(count), sizes)
        ease_N = np.repeat(np.where(sizes > 1, 3.0, 1.0) + generator.normal(size=count), sizes)
        true_N = 1 / (1 + np.exp(-(ease_N + 0.3 * generator.normal(size=len(groups_N)))))
        return np.stack([true_N, 1 - true_N], axis=1), np.zeros(len(groups_N), np.int64), groups_N

    kept = {"groups": [], "images": []}
    for _ in range(300):
        probs_NK, labels_N, groups_N = drawn(scenes)
        new_NK, _, new_groups_N = drawn(40)
        parts = 1 / np.bincount(new_groups_N)[new_groups_N] / 40
        for name, groups in (("groups", groups_N), ("images", None)):
            found = crossfit.conformal(probs_NK, labels_N, groups_M=groups)
            kept[name].append(float((parts * (new_NK[:, 0] >= found.threshold)).sum()) if found else 1.0)
    assert 0.89 <= np.mean(kept["groups"]) <= 0.97
    assert np.mean(kept["images"]) < 0.88


def test_a_group_is_never_on_both_sides_of_a_calibration_and_a_single_one_leaves_probabilities_alone() -> None:
    groups_M = np.repeat(np.arange(7), 3)
    folds_M = crossfit.dealt_groups(groups_M)
    assert all(len(set(folds_M[groups_M == group])) == 1 for group in range(7))
    logits_MK = np.random.default_rng(0).normal(size=(21, 2))
    labels_M = np.arange(21) % 2
    alone = crossfit.chosen(logits_MK, labels_M, "softmax", groups_M=np.zeros(21, np.int64))
    assert alone.calibrator.method == "none"
    assert "a single group cannot be held out" in alone.candidates[0].reason
    assert crossfit.conformal(alone.probs_MK, labels_M, groups_M=np.zeros(21, np.int64)) is None
