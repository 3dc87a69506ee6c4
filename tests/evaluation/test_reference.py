"""The counts of answers that a bundle carries."""

import numpy as np
import pytest

from sortal.evaluation.reference import BINS, Reference, confidence_bin, reference


def test_classes_and_confidence_are_counted() -> None:
    found = reference(np.array([[0.95, 0.05], [0.55, 0.45], [0.2, 0.8]]))
    assert found.classes_K == (2, 1)
    assert found.confidence_B == (0, 0, 0, 0, 0, 1, 0, 0, 1, 1)


def test_no_images_are_no_counts() -> None:
    assert reference(np.zeros((0, 3))) == Reference((0, 0, 0), (0,) * BINS)


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    assert [confidence_bin(value) for value in (0.0, 0.0999, 0.1, 0.9999, 1.0, 1.0001)] == [0, 0, 1, 9, 9, 9]


def test_what_was_written_is_read() -> None:
    found = reference(np.array([[0.95, 0.05]]))
    assert Reference.from_dict(found.to_dict(), 2) == found


@pytest.mark.parametrize(
    "values",
    [{}, {"classes": [1]}, {"classes": [1, 2, 3], "confidence": [0] * BINS}, {"classes": [1, -2], "confidence": [0] * BINS},
     {"classes": [1, True], "confidence": [0] * BINS}, {"classes": [1, 2], "confidence": [0] * 9},
     {"classes": "12", "confidence": [0] * BINS}, {"classes": [1, 10**60], "confidence": [0] * BINS}],
    ids=str,
)  # fmt: skip
def test_what_is_no_reference_of_two_classes_is_none(values: dict) -> None:
    assert Reference.from_dict(values, 2) is None
