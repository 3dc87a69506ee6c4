"""Metrics against scikit-learn, against hand-made numbers, and against inputs that nobody should have sent."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from sortal.errors import DataError
from sortal.evaluation.metrics import (
    accuracy,
    calibration_error,
    confusion,
    log_loss,
    macro_f1,
    metrics,
    per_class,
    reliability,
    top_k,
    weighted_f1,
)

Arrays = tuple[np.ndarray, np.ndarray]


def invented(seed: int, n: int, k: int, skill: float = 2.0) -> Arrays:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, k, n)
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), labels] += skill
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 8))
def test_scores_agree_with_scikit_learn(seed: int, n: int, k: int) -> None:
    probs, labels = invented(seed, n, k)
    guesses, everyone, present = probs.argmax(axis=1), np.arange(k), np.unique(labels)
    assert accuracy(probs, labels) == pytest.approx(oracle.accuracy_score(labels, guesses))
    assert macro_f1(probs, labels) == pytest.approx(oracle.f1_score(labels, guesses, average="macro", labels=present))
    assert weighted_f1(probs, labels) == pytest.approx(oracle.f1_score(labels, guesses, average="weighted", labels=present))
    exact = probs.astype(np.float64) / probs.sum(axis=1, keepdims=True, dtype=np.float64)
    assert log_loss(probs, labels) == pytest.approx(oracle.log_loss(labels, exact, labels=everyone), rel=1e-5)
    assert (confusion(probs, labels) == oracle.confusion_matrix(labels, guesses, labels=everyone)).all()


def test_top_k_agrees_with_scikit_learn() -> None:
    probs, labels = invented(3, 500, 12, skill=0.5)
    for k in (1, 2, 5):
        assert top_k(probs, labels, k) == pytest.approx(oracle.top_k_accuracy_score(labels, probs, k=k, labels=np.arange(12)))


def test_per_class_agrees_with_scikit_learn() -> None:
    probs, labels = invented(4, 200, 4, skill=1.0)
    rows = per_class(probs, labels, "abcd")
    expected = oracle.precision_recall_fscore_support(labels, probs.argmax(axis=1))
    for key, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(list(values))


def test_every_per_class_score_lies_in_its_interval() -> None:
    for row in per_class(*invented(5, 40, 6, skill=0.7), "abcdef"):
        for key in ("precision", "recall", "f1"):
            if row[key] is not None:
                low, high = row[f"{key}_interval"]
                assert 0 <= low <= row[key] <= high <= 1


def test_confidence_of_eight_tenths_with_half_right_is_three_tenths_off() -> None:
    probs = np.array([[0.8, 0.2], [0.8, 0.2]])
    assert calibration_error(probs, np.array([0, 1])) == pytest.approx(0.3)


def test_a_bin_holds_its_upper_edge() -> None:
    # 3/15 closes the third bin (0.133, 0.2]; five classes at 0.2 each, the first of which wins and is right.
    (row,) = reliability(np.full((1, 5), 0.2), np.array([0]))
    assert (row["low"], row["high"]) == pytest.approx((2 / 15, 3 / 15))


def test_calibration_error_is_what_the_reliability_bins_say() -> None:
    probs, labels = invented(6, 300, 3)
    rows = reliability(probs, labels)
    from_bins = sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / 300
    assert calibration_error(probs, labels) == pytest.approx(from_bins)
    assert sum(row["images"] for row in rows) == 300


def test_calibration_error_with_fifteen_bins_agrees_with_a_plain_loop() -> None:
    probs, labels = invented(7, 400, 4)
    sure, right = probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == labels
    error = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            error += inside.sum() / 400 * abs(sure[inside].mean() - right[inside].mean())
    assert calibration_error(probs, labels) == pytest.approx(error)


def test_a_certain_mistake_costs_sixteen_nats_and_not_infinity() -> None:
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(15.94, abs=0.01)


def test_of_equal_probabilities_the_first_class_wins_and_ranks_first() -> None:
    probs = np.full((1, 8), 1 / 8)
    assert accuracy(probs, np.array([0])) == 1.0
    assert top_k(probs, np.array([4]), 5) == 1.0
    assert top_k(probs, np.array([5]), 5) == 0.0


def test_a_metrics_object_has_exactly_the_keys_of_the_contract_and_ours() -> None:
    found = metrics(*invented(8, 100, 6))
    contract = {"accuracy", "accuracy_interval", "top5", "macro_f1", "weighted_f1", "log_loss", "calibration_error"}
    assert set(found) == contract | {"calibration_error_before", "images", "intervals", "classes_scored"}
    assert set(found["intervals"]) == {"top5", "macro_f1", "weighted_f1", "log_loss", "calibration_error"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_top5_of_five_classes_is_left_out_and_of_six_is_not() -> None:
    assert metrics(*invented(9, 50, 5))["top5"] is None
    assert metrics(*invented(9, 50, 6))["top5"] is not None


def test_calibration_before_is_that_of_the_probabilities_before() -> None:
    probs, labels = invented(10, 100, 3)
    before, _ = invented(11, 100, 3, skill=0.0)
    assert metrics(probs, labels, before_NK=before)["calibration_error_before"] == calibration_error(before, labels)
    assert metrics(probs, labels)["calibration_error_before"] is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 7), st.floats(-2, 6))
def test_every_score_lies_in_its_interval(seed: int, n: int, k: int, skill: float) -> None:
    found = metrics(*invented(seed, n, k, skill))
    for name, (low, high) in (found["intervals"] | {"accuracy": found["accuracy_interval"]}).items():
        assert 0 <= low <= found[name] <= high, name


def test_a_perfect_result_on_twenty_images_promises_no_perfect_f1() -> None:
    labels = np.arange(20) % 2
    probs = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    assert metrics(probs, labels)["intervals"]["macro_f1"] == pytest.approx([0.8389, 1.0], abs=1e-4)


def test_f1_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth = macro_f1(*invented(0, 200_000, 3, 2.0))
    found = [metrics(*invented(seed, 120, 3, 2.0))["intervals"]["macro_f1"] for seed in range(1, 71)]
    covered = np.mean([low <= truth <= high for low, high in found])
    assert 0.89 <= covered <= 1.0


def test_the_order_of_images_changes_no_score() -> None:
    probs, labels = invented(12, 80, 4)
    turned = np.arange(80)[::-1]
    ours, theirs = metrics(probs, labels), metrics(probs[turned], labels[turned])
    for key in ("accuracy", "macro_f1", "weighted_f1", "log_loss", "calibration_error"):
        assert ours[key] == pytest.approx(theirs[key])


def test_equal_predictions_have_equal_intervals() -> None:
    assert metrics(*invented(13, 60, 3)) == metrics(*invented(13, 60, 3))


def test_a_class_without_images_has_no_score_and_says_why() -> None:
    probs, labels = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]]), np.array([0, 1])
    row = per_class(probs, labels, ["a", "b", "c"])[2]
    assert (row["precision"], row["recall"], row["f1"], row["f1_interval"], row["support"]) == (None, None, None, None, 0)
    assert row["reason"] == "no images of it here"
    assert per_class(probs, labels, "abc", images_K=[5, 5, 1])[2]["reason"] == "its only image is used for training"
    assert per_class(probs, labels, "abc", images_K=[5, 5, 0])[2]["reason"] == "no images of it at all"
    assert per_class(probs, labels, "abc", images_K=[5, 5, 9])[2]["reason"] == "none of its images are here"


def test_macro_f1_is_the_mean_over_classes_that_have_images() -> None:
    probs = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    found = metrics(probs, np.array([0, 1]))
    assert found["macro_f1"] == 1.0
    assert found["classes_scored"] == 2


def test_a_class_that_was_never_predicted_has_no_precision_but_an_f1_of_zero() -> None:
    row = per_class(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), ["a", "b"])[1]
    assert (row["precision"], row["recall"], row["f1"]) == (None, 0.0, 0.0)
    assert "never predicted" in row["reason"]


GOOD = np.array([[0.5, 0.5]] * 3)


@pytest.mark.parametrize(
    ("probs", "labels", "said"),
    [
        (np.array([[0.5, 0.5], [np.nan, 1], [np.inf, 0]]), [0, 0, 0], "not finite in rows 1, 2"),
        (np.array([[0.5, 0.5], [0.5, 0.6], [0.5, 0.5]]), [0, 0, 0], r"no probabilities .* in row 1 \(sum 1.1\)"),
        (np.array([[1.5, -0.5], [0.5, 0.5], [0.5, 0.5]]), [0, 0, 0], "no probabilities .* in row 0"),
        (GOOD, [0, -1, 2], r"labels outside 0..1 in rows 1 \(-1\), 2 \(2\)"),
        (GOOD, [0, 1], r"shape \(3, 2\) do not go with labels of shape \(2,\)"),
        (GOOD[0], [0, 1], "do not go with"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "nothing to score"),
        (GOOD, [0.0, 1.0, 0.0], "whole-number labels, got float64 and float64"),
        (np.array([["a", "b"]] * 3), [0, 1, 0], "expected numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_rows(probs: np.ndarray, labels: list[int], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        metrics(probs, np.asarray(labels))
    assert caught.value.hint


def test_of_many_bad_rows_the_first_five_are_named_and_the_rest_counted() -> None:
    with pytest.raises(DataError, match=r"rows 0, 1, 2, 3, 4 and 1,995 more$"):
        accuracy(np.full((2000, 2), np.nan), np.zeros(2000, dtype=int))


def test_names_that_do_not_match_the_columns_are_refused() -> None:
    with pytest.raises(DataError, match="3 class names for probabilities of 2 classes"):
        per_class(GOOD, np.array([0, 1, 0]), ["a", "b", "c"])


def test_a_single_image_and_a_thousand_classes_are_scored_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics(np.array([[0.4, 0.6]]), np.array([1]))["accuracy_interval"] == pytest.approx([0.2065, 1.0], abs=1e-4)
        assert metrics(*invented(14, 50, 1000))["images"] == 50
