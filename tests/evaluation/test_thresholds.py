"""From which probability on a label is said."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.evaluation import thresholds
from sortal.evaluation.multilabel import macro_f1
from sortal.evaluation.thresholds import decided, fit_thresholds


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(thresholds).failed == 0


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.6, 0.9, 1.0]), st.booleans()), min_size=2, max_size=12))
def test_no_other_threshold_has_a_larger_f1(rows: list[tuple[float, bool]]) -> None:
    probs_N1 = np.array([[prob] for prob, _ in rows])
    labels_N1 = np.array([[int(there)] for _, there in rows])
    fitted = fit_thresholds(probs_N1, labels_N1)
    best = macro_f1(decided(probs_N1, fitted), labels_N1)
    if 0 < labels_N1.sum() < len(rows):
        assert all(macro_f1(decided(probs_N1, [other]), labels_N1) <= best + 1e-12 for other in np.linspace(0, 1, 101))


def test_each_label_gets_its_own_in_the_middle_of_the_gap() -> None:
    probs_NK = np.array([[0.3, 0.9], [0.2, 0.8], [0.05, 0.6]])
    assert fit_thresholds(probs_NK, np.array([[1, 1], [1, 0], [0, 0]])) == pytest.approx((0.125, 0.85))


def test_a_half_stays_where_it_is_as_good_as_any() -> None:
    assert fit_thresholds(np.array([[0.9], [0.2]]), np.array([[1], [0]])) == (0.5,)


@pytest.mark.parametrize("labels", [[[0], [0]], [[1], [1]]])
def test_a_label_that_all_or_none_have_keeps_a_half(labels: list[list[int]]) -> None:
    assert fit_thresholds(np.array([[0.9], [0.2]]), np.array(labels)) == (0.5,)
    assert fit_thresholds(np.zeros((0, 2)), np.zeros((0, 2), dtype=np.int64)) == (0.5, 0.5)
