"""Scores of several labels an image, beside scikit-learn's where it has them."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, multilabel_confusion_matrix

from sortal.errors import DataError
from sortal.evaluation.multilabel import (
    average_precisions,
    calibration_error,
    confusion,
    log_loss,
    macro_f1,
    mean_average_precision,
    metrics,
    micro_f1,
    per_label,
    reliability,
    subset_accuracy,
)
from sortal.evaluation.thresholds import decided


def invented(n: int = 200, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, of which many are equal, and labels that go with them."""
    random = np.random.default_rng(seed)
    probs_NK = np.round(random.random((n, k)), 1)
    return probs_NK, (random.random((n, k)) < 0.2 + 0.6 * probs_NK).astype(np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn_also_with_equal_probabilities(seed: int) -> None:
    probs_NK, labels_NK = invented(seed=seed)
    said_NK = decided(probs_NK, [0.3, 0.5, 0.7, 0.55])
    expected = average_precision_score(labels_NK, probs_NK, average=None)
    np.testing.assert_allclose(average_precisions(probs_NK, labels_NK), expected)
    assert mean_average_precision(probs_NK, labels_NK) == pytest.approx(expected.mean())
    assert micro_f1(said_NK, labels_NK) == pytest.approx(f1_score(labels_NK, said_NK, average="micro"))
    assert macro_f1(said_NK, labels_NK) == pytest.approx(f1_score(labels_NK, said_NK, average="macro"))
    assert subset_accuracy(said_NK, labels_NK) == pytest.approx(accuracy_score(labels_NK, said_NK))
    assert (confusion(said_NK, labels_NK) == multilabel_confusion_matrix(labels_NK, said_NK)).all()


def test_a_label_that_no_image_has_counts_in_no_mean_and_says_why() -> None:
    probs_NK = np.array([[0.9, 0.2], [0.1, 0.3]])
    labels_NK = np.array([[1, 0], [0, 0]])
    said_NK = decided(probs_NK, [0.5, 0.25])
    assert mean_average_precision(probs_NK, labels_NK) == macro_f1(said_NK, labels_NK) == 1.0
    assert metrics(probs_NK, said_NK, labels_NK)["classes_scored"] == 1
    rows = per_label(probs_NK, said_NK, labels_NK, ["a", "b"], [0.5, 0.25], images_K=[2, 1])
    assert [row["reason"] for row in rows] == [None, "its only image is used for training"]
    assert rows[1]["f1"] is rows[1]["average_precision"] is rows[1]["precision"] is None
    assert [row["threshold"] for row in rows] == [0.5, 0.25]


def test_a_label_that_is_never_said_has_a_recall_but_no_precision() -> None:
    (row,) = per_label(np.array([[0.2], [0.1]]), np.array([[False], [False]]), np.array([[1], [0]]), ["a"], [0.5])
    assert (row["recall"], row["f1"], row["precision"], row["reason"]) == (0.0, 0.0, None, "never said, so it has no precision")
    assert row["average_precision"] == 1.0


def test_images_without_any_label_on_which_nothing_was_said_are_exactly_right() -> None:
    nothing = np.zeros((3, 2), dtype=np.int64)
    found = metrics(np.full((3, 2), 0.1), nothing > 0, nothing)
    assert (found["subset_accuracy"], found["micro_f1"], found["classes_scored"]) == (1.0, 1.0, 0)
    assert found["mean_average_precision"] is found["macro_f1"] is None
    assert "macro_f1" not in found["intervals"]


def test_log_loss_is_the_mean_over_labels_and_finite_at_certainty() -> None:
    assert log_loss(np.array([[0.5, 0.5]]), np.array([[1, 0]])) == pytest.approx(np.log(2))
    assert log_loss(np.array([[0.0, 1.0]]), np.array([[1, 0]])) == pytest.approx(15.94, abs=0.01)


def test_shares_that_are_as_probable_as_said_have_no_calibration_error() -> None:
    probs_NK = np.full((10, 1), 0.3)
    assert calibration_error(probs_NK, np.array([[1]] * 3 + [[0]] * 7)) == pytest.approx(0)
    assert calibration_error(probs_NK, np.array([[1]] * 10)) == pytest.approx(0.7)
    (row,) = reliability(probs_NK, np.array([[1]] * 3 + [[0]] * 7))
    assert (row["images"], row["accuracy"], round(row["confidence"], 3)) == (10, 0.3, 0.3)


def test_every_score_lies_in_its_interval_and_more_images_make_it_narrower() -> None:
    widths = []
    for n in (50, 2000):
        probs_NK, labels_NK = invented(n)
        found = metrics(probs_NK, decided(probs_NK, [0.5] * 4), labels_NK, before_NK=probs_NK)
        assert found["calibration_error_before"] == found["calibration_error"]
        for name, (low, high) in found["intervals"].items():
            assert low <= found[name] <= high, name
        widths.append({name: high - low for name, (low, high) in found["intervals"].items()})
    assert set(widths[0]) == {
        "mean_average_precision", "micro_f1", "macro_f1", "subset_accuracy", "log_loss", "calibration_error",
        "calibration_error_before",
    }  # fmt: skip
    assert all(widths[1][name] < widths[0][name] for name in widths[0])


def test_a_perfect_result_on_few_images_promises_no_perfection() -> None:
    labels_NK = np.eye(3, dtype=np.int64).repeat(4, axis=0)
    found = metrics(np.where(labels_NK, 0.9, 0.1), labels_NK > 0, labels_NK)
    for name in ("mean_average_precision", "micro_f1", "macro_f1", "subset_accuracy"):
        assert found[name] == 1.0
        assert found["intervals"][name][0] < 0.9


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = mean_average_precision(*invented(100_000, 2, seed=99))
    inside = 0
    for seed in range(60):
        probs_NK, labels_NK = invented(120, 2, seed=seed)
        low, high = metrics(probs_NK, decided(probs_NK, [0.5] * 2), labels_NK)["intervals"]["mean_average_precision"]
        inside += low <= truth <= high
    assert inside >= 52  # 57 of 60 expected; fewer than 52 would come up once in a hundred times


@pytest.mark.parametrize(
    ("probs", "labels", "said"),
    [
        ([[0.5, 1.2]], [[0, 1]], "no probabilities"),
        ([[0.5, float("nan")]], [[0, 1]], "not finite"),
        ([[0.5, 0.5]], [[0, 2]], "other than 0 and 1"),
        ([[0.5, 0.5]], [[-1, -1]], "other than 0 and 1"),
        ([[0.5, 0.5]], [[0]], "do not go with"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "nothing to score"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_rows(probs: object, labels: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        mean_average_precision(np.array(probs), np.array(labels))


def test_names_and_thresholds_that_do_not_match_the_columns_are_refused() -> None:
    with pytest.raises(DataError, match="1 names and 2 thresholds for 2 labels"):
        per_label(np.array([[0.5, 0.5]]), np.array([[True, True]]), np.array([[1, 0]]), ["a"], [0.5, 0.5])
