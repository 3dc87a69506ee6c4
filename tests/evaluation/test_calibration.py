import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from sortal.errors import DataError
from sortal.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    as_label_logits,
    fit_label_temperature,
    fit_temperature,
    sigmoid,
    softmax,
    with_temperature,
)
from sortal.evaluation.metrics import calibration_error, log_loss


def sampled(n: int, k: int, spread: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from exactly the probabilities that the logits stand for."""
    generator = np.random.default_rng(seed)
    logits = spread * generator.normal(size=(n, k))
    labels = (softmax(logits).cumsum(axis=1) < generator.random((n, 1))).sum(axis=1)
    return logits, np.minimum(labels, k - 1)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_logits_that_are_too_large_by_a_factor_get_that_factor_as_temperature(factor: float) -> None:
    logits, labels = sampled(20_000, 5)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.05)


def test_the_fit_is_maximum_likelihood_as_scipy_finds_it() -> None:
    logits, labels = sampled(5000, 4)

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(2 * logits / np.exp(log_temperature)), labels)

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8})
    assert fit_temperature(2 * logits, labels) == pytest.approx(np.exp(found.x), rel=0.01)


def test_fitting_brings_the_calibration_error_down() -> None:
    logits, labels = sampled(4000, 3)
    before = with_temperature(4 * logits, 1.0)
    after = with_temperature(4 * logits, fit_temperature(4 * logits, labels))
    assert calibration_error(after, labels) < 0.03 < calibration_error(before, labels)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 6), st.floats(1e-6, 1e6), st.floats(-50, 50))
def test_whatever_the_logits_the_temperature_stays_within_its_bounds(
    seed: int, n: int, k: int, scale: float, skill: float
) -> None:
    logits, labels = sampled(n, k, seed=seed)
    logits[np.arange(n), labels] += skill
    assert COLDEST <= fit_temperature((scale * logits).astype(np.float32), labels) <= HOTTEST


def test_classes_separated_without_an_error_leave_some_doubt() -> None:
    labels = np.arange(40) % 2
    logits = np.where(labels[:, None] == np.arange(2), 3.0, -3.0)
    temperature = fit_temperature(logits, labels)
    assert COLDEST < temperature < HOTTEST
    assert with_temperature(logits, temperature).max() == pytest.approx(41 / 42, abs=1e-4)  # Platt's target


def test_logits_that_are_always_wrong_end_at_the_hottest_bound() -> None:
    logits = np.array([[5.0, 0.0]] * 10)
    assert fit_temperature(logits, np.ones(10, dtype=int)) == HOTTEST


def test_tiny_logits_that_are_right_end_at_the_coldest_bound() -> None:
    assert fit_temperature(np.array([[1e-6, 0.0]] * 10), np.zeros(10, dtype=int)) == COLDEST


def test_where_nothing_can_be_learnt_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0
    assert fit_temperature(np.ones((4, 3)), np.array([-1, -1, -1, -1])) == 1.0
    assert fit_temperature(np.ones((4, 3)), np.array([0, 1, 2, 0])) == 1.0
    assert fit_temperature(np.ones((4, 1)), np.zeros(4, dtype=int)) == 1.0


def test_rows_without_a_label_do_not_count() -> None:
    logits, labels = sampled(300, 3)
    more = np.concatenate([logits, np.full((2, 3), np.nan)])
    assert fit_temperature(more, np.append(labels, [-1, -1])) == fit_temperature(logits, labels)


def test_logits_that_are_not_finite_are_refused_with_their_row() -> None:
    with pytest.raises(DataError, match="row 1 are not finite"):
        fit_temperature(np.array([[0.0, 1.0], [np.nan, 1.0]]), np.array([0, 1]))
    with pytest.raises(DataError, match="do not go with"):
        fit_temperature(np.zeros((3, 2)), np.zeros(2, dtype=int))
    with pytest.raises(DataError, match=r"label 2 is outside 0\.\.1"):
        fit_temperature(np.zeros((3, 2)), np.array([0, 1, 2]))


@given(st.floats(0.05, 20), st.integers(0, 1000))
def test_a_temperature_changes_no_order_and_keeps_the_sum(temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(5, 4)) * 3
    probs = with_temperature(logits, temperature)
    assert probs.dtype == np.float32
    assert probs.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert (probs.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_softmax_of_huge_logits_is_finite() -> None:
    assert softmax(np.array([[1e30, -1e30], [-1e30, -1e30]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_one_temperature_for_all_labels_is_that_of_a_softmax_of_two() -> None:
    random = np.random.default_rng(3)
    logits_NK = random.normal(0, 2, (4000, 3))
    labels_NK = (random.random((4000, 3)) < sigmoid(logits_NK / 2.5)).astype(np.int64)
    temperature = fit_label_temperature(logits_NK, labels_NK)
    assert temperature == pytest.approx(2.5, rel=0.15)

    def loss(t: float) -> float:
        probs_NK = sigmoid(logits_NK / t)
        return float(-np.log(np.where(labels_NK, probs_NK, 1 - probs_NK)).mean())

    assert loss(temperature) < min(loss(temperature * 1.1), loss(temperature / 1.1))


def test_label_logits_give_back_their_probabilities_and_stay_finite_at_certainty() -> None:
    probs = np.array([[0.25, 0.9999, 1.0, 0.0]], dtype=np.float32)
    logits = as_label_logits(probs)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(sigmoid(logits), probs, atol=1e-6)
