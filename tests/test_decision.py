"""From probabilities to what is said: the likeliest class, the cheapest, or nothing; and what no stranger may write of it."""

from typing import Any

import numpy as np
import pytest

from sortal.decision import ABSTAINED, Conformal, DecisionRule, Novelty

PROBS = np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]], dtype=np.float32)


def test_without_a_rule_the_likeliest_class_is_said_of_every_image() -> None:
    assert DecisionRule().labels(PROBS, ("ant", "bee")) == ["ant", "bee", "bee"]


def test_below_the_threshold_nothing_is_said_and_at_it_something_is() -> None:
    assert DecisionRule(threshold=float(PROBS[2, 1])).labels(PROBS, ("ant", "bee")) == ["ant", None, "bee"]


def test_a_costly_mistake_is_avoided_by_saying_the_class_that_costs_less() -> None:
    costs = ((0.0, 1.0), (10.0, 0.0))  # to take a bee for an ant costs ten times as much as the other way round
    assert DecisionRule(costs_KK=costs).labels(np.array([[0.85, 0.15], [0.95, 0.05]]), ("ant", "bee")) == ["bee", "ant"]


def test_nothing_is_said_where_silence_is_cheaper_than_every_class() -> None:
    rule = DecisionRule(costs_KK=((0.0, 1.0), (1.0, 0.0)), abstain_cost=0.3)
    assert rule.indices(PROBS).tolist() == [0, ABSTAINED, 1]


def test_a_rule_has_a_class_that_it_prefers_where_it_says_nothing() -> None:
    probs = np.array([[0.85, 0.15], [0.95, 0.05]])
    silent = DecisionRule(costs_KK=((0.0, 1.0), (10.0, 0.0)), abstain_cost=0.01)
    assert silent.labels(probs, ("ant", "bee")) == [None, None]
    assert silent.preferred(probs).tolist() == [1, 0]
    assert DecisionRule(threshold=0.99).preferred(probs).tolist() == [0, 0]


def test_nothing_is_said_of_an_image_more_novel_than_the_rule_allows() -> None:
    assert DecisionRule(novelty=0.99).indices(PROBS, np.array([0.99, 0.5, 1.0])).tolist() == [0, 1, ABSTAINED]


def test_no_images_get_no_labels() -> None:
    assert DecisionRule(threshold=0.5).labels(np.zeros((0, 2)), ("ant", "bee")) == []


def test_a_set_holds_every_class_that_reaches_the_threshold_the_likeliest_first_and_may_be_empty() -> None:
    sets = Conformal(level=0.9, threshold=0.5, images=20).sets(np.array([[0.2, 0.8], [0.5, 0.5], [0.49, 0.48]]), ("a", "b"))
    assert sets == [["b"], ["a", "b"], []]


def test_novelty_is_the_share_of_familiar_images_that_are_nearer() -> None:
    novelty = Novelty(tuple(np.linspace(0, 2, 101)), neighbours=3, images=40)
    assert novelty.shares(np.array([0.0, 1.0, 5.0])).tolist() == [0.0, 0.5, 1.0]


RULE = DecisionRule(threshold=0.5, costs_KK=((0.0, 1.0), (2.0, 0.0)), abstain_cost=0.25, novelty=0.9)
CONFORMAL = Conformal(0.9, 0.25, 100)
NOVELTY = Novelty(tuple(float(each) for each in range(101)), 2, 50)


def test_what_is_written_is_read_back_the_same() -> None:
    assert DecisionRule.parse(RULE.to_json(), classes=2) == RULE
    assert DecisionRule.parse(DecisionRule().to_json(), classes=2) == DecisionRule()
    assert Conformal.parse(CONFORMAL.to_json()) == CONFORMAL
    assert Novelty.parse(NOVELTY.to_json()) == NOVELTY


@pytest.mark.parametrize("value", [None, "0.5", -0.1, 1.1, float("nan"), float("inf"), True, [], 10**400])
@pytest.mark.parametrize("key", ["threshold", "novelty"])
def test_a_share_that_is_none_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"decision.{key}"):
        DecisionRule.parse(RULE.to_json() | {key: value}, classes=2)


@pytest.mark.parametrize(
    "costs",
    [None, [[0, 1]], [[0, 1], [1]], [[0, 1], [1, -1]], [[0, 1], [1, "0"]], [[0, 1], [float("nan"), 0]], [1, 2], "costs"],
)
def test_costs_that_are_no_matrix_of_the_classes_are_refused(costs: Any) -> None:
    with pytest.raises(ValueError, match="costs"):
        DecisionRule.parse(RULE.to_json() | {"costs": costs}, classes=2)


@pytest.mark.parametrize("value", [None, [], {}, 7, {"threshold": 0.5}, RULE.to_json() | {"more": 1}])
def test_a_rule_with_other_keys_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="decision must have the keys"):
        DecisionRule.parse(value, classes=2)


def test_a_price_of_silence_without_costs_to_compare_it_with_is_refused() -> None:
    with pytest.raises(ValueError, match="abstain_cost"):
        DecisionRule.parse(RULE.to_json() | {"costs": []}, classes=2)


@pytest.mark.parametrize("change", [{"level": 2}, {"threshold": None}, {"images": 0}, {"images": 1.5}, {"images": True}])
def test_a_conformal_threshold_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="conformal"):
        Conformal.parse(CONFORMAL.to_json() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"distances": [0.0] * 100},
        {"distances": [1.0, *[0.0] * 100]},
        {"distances": [None] * 101},
        {"neighbours": 51},
        {"images": 0},
    ],
)
def test_a_novelty_that_cannot_be_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="novelty"):
        Novelty.parse(NOVELTY.to_json() | change)


def test_sets_that_were_taken_from_groups_say_from_how_many() -> None:
    grouped = Conformal(0.9, 0.25, 100, 12)
    assert grouped.to_json() == CONFORMAL.to_json() | {"groups": 12}
    assert Conformal.parse(grouped.to_json()) == grouped
    with pytest.raises(ValueError, match=r"conformal\.groups"):
        Conformal.parse(CONFORMAL.to_json() | {"groups": 0})
