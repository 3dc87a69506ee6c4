"""Calibrators: each kind undoes its own kind of fault, leaves alone what it must, and is chosen where it is worth having."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal.evaluation import crossfit
from sortal.evaluation.calibration import softmax
from sortal.evaluation.calibrators import KEEP_THE_ORDER, Calibrator, Method, fitted, log_softmax, uncalibrated
from sortal.evaluation.crossfit import chosen, conformal, dealt
from sortal.evaluation.metrics import log_loss


def drawn(
    images: int, *, sure: float = 1.0, shift: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits of three classes; true ones, times `sure`, and the last class's moved by `shift`."""
    generator = np.random.default_rng(seed)
    labels_N = generator.integers(0, 3, images)
    logits_NK = generator.normal(size=(images, 3))
    logits_NK[np.arange(images), labels_N] += 1.5
    return 1.5 * sure * logits_NK + shift * np.array([0, 0, 1]), labels_N


def gained(method: Method, **faults: float) -> float:
    """By how much a method fitted on 2,000 images lowers the log loss of 10,000 others."""
    calibrator = fitted(method, *drawn(2000, **faults), "softmax")  # type: ignore[arg-type]
    logits_NK, labels_N = drawn(10_000, seed=1, **faults)  # type: ignore[arg-type]
    return log_loss(softmax(logits_NK), labels_N) - log_loss(calibrator(logits_NK), labels_N)


def test_a_temperature_undoes_too_much_confidence() -> None:
    assert gained("temperature", sure=3.0) > 0.2
    assert fitted("temperature", *drawn(5000, sure=3.0), "softmax").temperature == pytest.approx(3.0, rel=0.1)


def test_a_vector_undoes_what_is_wrong_with_one_class() -> None:
    assert gained("vector", shift=2.0) > gained("temperature", shift=2.0) + 0.1


def test_an_isotonic_map_undoes_what_no_temperature_can() -> None:
    logits_NK, labels_N = drawn(4000)
    flat_NK = np.cbrt(logits_NK)  # small differences blown up, large ones pressed together
    half = slice(0, 2000), slice(2000, None)
    isotonic, temperature = (
        fitted(method, flat_NK[half[0]], labels_N[half[0]], "softmax") for method in ("isotonic", "temperature")
    )
    assert (
        log_loss(isotonic(flat_NK[half[1]]), labels_N[half[1]]) < log_loss(softmax(flat_NK[half[1]]), labels_N[half[1]]) - 0.02
    )
    assert log_loss(temperature(flat_NK[half[1]]), labels_N[half[1]]) < log_loss(softmax(flat_NK[half[1]]), labels_N[half[1]])


@pytest.mark.parametrize("method", KEEP_THE_ORDER)
def test_methods_that_keep_the_order_never_change_the_likeliest_class(method: Method) -> None:
    logits_NK, labels_N = drawn(500, sure=2.0)
    told_NK = fitted(method, logits_NK, labels_N, "softmax")(logits_NK)
    assert (told_NK.argmax(axis=1) == logits_NK.argmax(axis=1)).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
@pytest.mark.parametrize("images", [1, 2, 7])
def test_a_handful_of_images_gives_finite_probabilities(images: int, method: Method, activation: str) -> None:
    logits_NK, labels_N = drawn(images)
    labels = labels_N if activation == "softmax" else np.eye(3, dtype=np.int64)[labels_N]
    calibrator = fitted(method, logits_NK, labels, activation)  # type: ignore[arg-type]
    probs_NK = calibrator(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]))
    assert np.isfinite(probs_NK).all()
    assert ((probs_NK >= 0) & (probs_NK <= 1)).all()


@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_logits_that_do_not_differ_give_equal_classes(method: Method) -> None:
    calibrator = fitted(method, np.zeros((30, 3)), np.arange(30) % 3, "softmax")
    np.testing.assert_allclose(calibrator(np.zeros((1, 3))), 1 / 3, atol=0.01)


def test_labels_that_are_all_right_do_not_make_certainty() -> None:
    logits_NK = np.array([[3.0, 0.0], [0.0, 3.0]] * 20)
    for method in ("temperature", "vector", "isotonic"):
        probs_NK = fitted(method, logits_NK, np.array([0, 1] * 20), "softmax")(logits_NK)  # type: ignore[arg-type]
        assert 0.9 < probs_NK.max() < 1


def test_the_log_of_a_softmax_is_safe_and_has_a_bottom() -> None:
    assert log_softmax(np.array([[0.0, -1e9]])).tolist() == [[0.0, -30.0]]


@pytest.mark.parametrize(
    ("faults", "method"),
    [({}, ["none", "temperature"]), ({"sure": 2.5}, ["temperature"]), ({"shift": 2.0}, ["vector"])],
    ids=str,
)
def test_the_method_is_chosen_by_the_fault(faults: dict[str, float], method: list[str]) -> None:
    choice = chosen(*drawn(1000, **faults), "softmax")  # type: ignore[arg-type]
    assert choice.calibrator.method in method
    assert [each.method for each in choice.candidates] == ["none", "temperature", "vector", "isotonic"]
    assert choice.probs_MK.shape == (1000, 3)


def test_every_image_is_judged_by_a_calibrator_that_did_not_see_it() -> None:
    logits_NK, labels_N = drawn(60, sure=2.0)
    changed_N = labels_N.copy()
    changed_N[7] = (labels_N[7] + 1) % 3
    folds_N = dealt(60)
    first, second = (chosen(logits_NK, labels, "softmax", folds_N).probs_MK for labels in (labels_N, changed_N))
    np.testing.assert_array_equal(first[folds_N == folds_N[7]], second[folds_N == folds_N[7]])
    assert (first[folds_N != folds_N[7]] != second[folds_N != folds_N[7]]).any()


def test_a_vector_is_not_tried_where_a_class_has_too_few_images() -> None:
    logits_NK, labels_N = drawn(200)
    labels_N[labels_N == 2] = 1
    labels_N[:3] = 2
    (vector,) = [each for each in chosen(logits_NK, labels_N, "softmax").candidates if each.method == "vector"]
    assert vector.log_loss is None
    assert "3 held-out images" in vector.reason


@pytest.mark.parametrize("images", [0, 1])
def test_without_two_images_nothing_is_calibrated_and_the_reason_is_given(images: int) -> None:
    choice = chosen(np.zeros((images, 3)), np.zeros(images, dtype=np.int64), "softmax")
    assert choice.calibrator.method == "none"
    assert "held out" in crossfit.told(choice)


def test_the_folds_are_the_same_every_time_and_of_one_size() -> None:
    assert (dealt(101) == dealt(101)).all()
    assert set(np.bincount(dealt(101)).tolist()) == {20, 21}


def test_a_conformal_threshold_is_the_quantile_of_the_true_classes() -> None:
    probs_MK = np.stack([np.linspace(0.01, 0.99, 99), 1 - np.linspace(0.01, 0.99, 99)], axis=1)
    found = conformal(probs_MK, np.zeros(99, dtype=np.int64))
    assert found is not None
    assert found.threshold == pytest.approx(0.10)  # the tenth lowest of 99: 10 of 100 places are below
    assert (found.level, found.images) == (0.9, 99)


def test_too_few_images_give_no_conformal_threshold() -> None:
    assert conformal(np.full((8, 2), 0.5), np.zeros(8, dtype=np.int64)) is None
    assert conformal(np.full((9, 2), 0.5), np.zeros(9, dtype=np.int64)) is not None


def test_a_calibrator_says_its_temperature_and_its_numbers() -> None:
    warm = Calibrator("temperature", "softmax", scale_K=np.array(0.5))
    assert warm.temperature == 2.0
    assert uncalibrated("softmax").temperature == 1.0
    assert warm.to_json() == {"method": "temperature", "scale": 0.5, "bias": 0.0, "knots": [], "values": []}
