"""The gate's arithmetic, on the smallest numbers."""

from typing import Any

import numpy as np
import pytest

from sortal.decision import DecisionRule, Novelty
from sortal.errors import ParityError
from sortal.evaluation.task import MULTI_CLASS, MULTI_LABEL
from sortal.exports import parity
from sortal.exports.choosing import Candidate, best, divergence, halves
from sortal.exports.kind import Told
from sortal.exports.parity import Parity, Speed, judge, measured, require
from sortal.exports.rule import Rule

SOURCE_NK = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
LABELS_N = np.array([0, 1, 0, 1])
LIKELIEST = Rule(MULTI_CLASS)
FAMILIAR = Novelty(tuple(np.linspace(0, 1, 101).tolist()), 1, 20)
"""A distance is the share of familiar images that are nearer."""


def judged(probs_NK: Any, *, precision: str = "float32", labels: Any = LABELS_N, max_loss: float = 0.5) -> Parity:
    return of_told(
        Told(np.asarray(probs_NK, np.float32)), Told(SOURCE_NK), precision=precision, labels=labels, max_loss=max_loss
    )


def of_told(
    told: Told,
    source: Told,
    *,
    rule: Rule = LIKELIEST,
    precision: str = "float32",
    labels: Any = LABELS_N,
    max_loss: float = 0.5,
) -> Parity:
    return judge(
        told, source, labels, rule=rule, classes=("ant", "bee"), precision=precision, max_loss=max_loss, split="val",
        speed=Speed(2.0, 1.0), sizes=(10, 20),
    )  # fmt: skip


def test_equal_answers_pass_in_every_precision() -> None:
    for precision in ("float32", "float16", "int8"):
        found = judged(SOURCE_NK, precision=precision)
        require(found, "an export")
        assert (found.max_difference, found.flips, found.accuracy, found.accuracy_source) == (0.0, 0, 1.0, 1.0)


def test_the_table_says_who_got_what_right_by_class() -> None:
    flipped_NK = SOURCE_NK.copy()
    flipped_NK[3] = [0.7, 0.3]
    found = judged(flipped_NK, precision="int8").to_json()
    assert found["classes"] == [
        {"name": "ant", "images": 2, "right": 2, "right_source": 2},
        {"name": "bee", "images": 2, "right": 1, "right_source": 2},
    ]
    assert found["accuracy_change"]["mean"] == -0.25
    low, high = found["accuracy_change"]["interval"]
    assert low < -0.25 < high
    assert (found["bytes"], found["bytes_source"], found["images_per_second"]) == (10, 20, 2.0)


def test_a_loss_within_what_is_allowed_passes_and_one_beyond_it_does_not() -> None:
    flipped_NK = SOURCE_NK.copy()
    flipped_NK[3] = [0.7, 0.3]
    require(judged(flipped_NK, precision="int8", max_loss=25), "an export")
    with pytest.raises(ParityError, match=r"loses 25\.00 points .* suffered in bee \(2 to 1 of 2\)"):
        require(judged(flipped_NK, precision="int8", max_loss=24.9), "an export")


def test_float32_is_judged_by_its_probabilities_even_where_every_label_stays() -> None:
    with pytest.raises(ParityError, match=r"0\.0011"):
        require(judged(SOURCE_NK + np.float32(0.0011)), "an export")
    require(judged(SOURCE_NK + np.float32(0.0009)), "an export")


def test_images_without_known_labels_leave_accuracy_open() -> None:
    found = judged(SOURCE_NK, labels=np.full(4, -1), precision="int8")
    assert found.accuracy is None
    assert found.change is None
    require(found, "an export")


def test_of_several_labels_an_image_counts_as_right_where_all_are_said_and_no_other() -> None:
    labels_NK = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    found = judge(
        Told(SOURCE_NK), Told(SOURCE_NK), labels_NK, rule=Rule(MULTI_LABEL, (0.35, 0.35)), classes=("a", "b"),
        precision="float32", max_loss=0.5, split="val", speed=Speed(1, 1), sizes=(1, 1),
    )  # fmt: skip
    assert found.accuracy == 0.75


def test_a_label_that_the_decision_would_not_have_said_is_a_flip() -> None:
    """The bundle is silent below 0.65; an export that is a little surer says a label, though no likeliest class changes."""
    rule = Rule(MULTI_CLASS, decision=DecisionRule(threshold=0.65))
    surer_NK = SOURCE_NK.copy()
    surer_NK[2] = [0.7, 0.3]
    found = of_told(Told(surer_NK), Told(SOURCE_NK), rule=rule)
    assert (found.flips, found.silent, found.silent_source) == (1, 0, 1)
    assert of_told(Told(surer_NK), Told(SOURCE_NK)).flips == 0, "without the decision nothing would be noticed"


def test_a_decision_on_the_edge_is_no_flip_in_float32_and_one_beyond_it_is() -> None:
    told = Told(SOURCE_NK + np.float32(0.0005))
    for threshold, flips in ((0.6002, 0), (0.65, 0)):
        rule = Rule(MULTI_CLASS, decision=DecisionRule(threshold=threshold))
        assert of_told(told, Told(SOURCE_NK), rule=rule).flips == flips
    rule = Rule(MULTI_CLASS, decision=DecisionRule(threshold=0.6002))
    assert of_told(told, Told(SOURCE_NK), rule=rule, precision="int8").flips == 1, "with less precision each one counts"


def test_the_class_of_lowest_cost_is_what_may_not_change() -> None:
    """Taking an ant for a bee costs nine: nothing but a sure bee is called one."""
    rule = Rule(MULTI_CLASS, decision=DecisionRule(costs_KK=((0.0, 9.0), (1.0, 0.0)), abstain_cost=0.75))
    swapped_NK = SOURCE_NK[:, ::-1].copy()
    found = of_told(Told(swapped_NK), Told(SOURCE_NK), rule=rule, precision="int8", max_loss=100)
    # Expected costs of the source: ant 0.1, 0.8, 0.4, 0.7; bee 8.1, 1.8, 5.4, 2.7. Of the swapped: ant 0.9, 0.2, 0.6, 0.3.
    assert (found.silent_source, found.silent, found.flips) == (1, 1, 2)


def test_an_export_in_less_precision_that_lost_the_abstention_is_refused_though_accuracy_stays() -> None:
    rule = Rule(MULTI_CLASS, decision=DecisionRule(threshold=0.65))
    surer_NK = SOURCE_NK.copy()
    surer_NK[2] = [0.7, 0.3]
    with pytest.raises(ParityError, match="says nothing of 0 of 4 images, and the bundle of 1"):
        require(of_told(Told(surer_NK), Told(SOURCE_NK), rule=rule, precision="int8"), "an export")
    require(of_told(Told(surer_NK), Told(SOURCE_NK), rule=rule, precision="int8", max_loss=25), "an export")


def test_novelty_is_compared_and_must_be_told() -> None:
    rule = Rule(MULTI_CLASS, decision=DecisionRule(novelty=0.9), novelty=FAMILIAR)
    source = Told(SOURCE_NK, np.array([0.1, 0.5, 0.95, 0.2], np.float32))
    same = of_told(source, source, rule=rule)
    assert (same.novelty_difference, same.flips, same.silent) == (0.0, 0, 1)
    require(same, "an export")
    nearer = of_told(Told(SOURCE_NK, np.array([0.1, 0.5, 0.85, 0.2], np.float32)), source, rule=rule)
    assert (nearer.flips, nearer.silent) == (1, 0)
    with pytest.raises(ParityError, match=r"novelty by up to 0\.1, 1 of 4 labels"):
        require(nearer, "an export")
    with pytest.raises(ParityError, match="does not tell how novel"):
        require(of_told(Told(SOURCE_NK), source, rule=rule, precision="int8"), "an export")


def test_speed_is_measured_in_turns_and_the_best_turn_counts() -> None:
    turns: list[str] = []
    images_NRRC = np.zeros((3, 1, 1, 1), np.uint8)

    def run(name: str) -> Any:
        return lambda images: turns.append(name)

    found = measured(run("export"), run("source"), images_NRRC)
    assert turns == ["export", "source"] * parity.ROUNDS
    assert found.export > 0
    assert found.source > 0


def test_divergence_is_zero_for_equal_and_grows_with_distance() -> None:
    near_NK, far_NK = SOURCE_NK + np.float32(0.01), 1 - SOURCE_NK
    assert divergence(SOURCE_NK, SOURCE_NK) == 0
    assert 0 < divergence(near_NK, SOURCE_NK) < divergence(far_NK, SOURCE_NK)
    assert divergence(np.full_like(SOURCE_NK, np.nan), SOURCE_NK) == float("inf")


def test_the_first_good_candidate_is_taken_and_else_the_nearest() -> None:
    images_NSSC = np.zeros((4, 1, 1, 1), np.uint8)

    def candidate(told: str, shift: float) -> Candidate:
        return Candidate(told, told, lambda images: SOURCE_NK + np.float32(shift))

    def source(images: Any) -> Any:
        return SOURCE_NK

    far, near, equal = candidate("far", 0.1), candidate("near", 0.05), candidate("equal", 0.0)
    assert best([far, near], source, images_NSSC).candidate is near
    chosen = best(iter([far, equal, near]), source, images_NSSC)
    assert chosen.candidate is equal
    assert [told for told, _ in chosen.divergences] == ["far", "equal"], "none is tried once one is good"


def test_no_image_both_calibrates_and_chooses() -> None:
    calibrating, judging = halves(np.arange(7).reshape(7, 1, 1, 1).astype(np.uint8))
    assert set(calibrating.ravel()) & set(judging.ravel()) == set()
    assert len(calibrating) + len(judging) == 7
