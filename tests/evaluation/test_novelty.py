"""Novelty: an image unlike the familiar ones is told from them by its features."""

import numpy as np

from sortal.evaluation.novelty import FEWEST, remembered, room


def familiar(images: int = 200, dimensions: int = 16) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.abs(generator.normal(size=(images, dimensions))) + np.eye(dimensions)[generator.integers(0, 3, images)] * 5


def test_new_images_of_the_familiar_kind_are_spread_evenly_and_others_stand_beyond() -> None:
    features_ND = familiar(400)
    memory = remembered(features_ND[:200])
    assert memory is not None
    novelty = memory.described()
    shares_N = novelty.shares(memory.distances(features_ND[200:]))
    assert 0.4 < shares_N.mean() < 0.6
    assert (shares_N > 0.95).mean() < 0.12
    strange = np.abs(np.random.default_rng(1).normal(size=(50, 16))) + np.eye(16)[9] * 8
    assert (novelty.shares(memory.distances(strange)) > 0.95).mean() > 0.9


def test_the_length_of_a_feature_vector_does_not_matter() -> None:
    memory = remembered(familiar())
    assert memory is not None
    np.testing.assert_allclose(memory.distances(familiar()), memory.distances(7 * familiar()), atol=1e-6)


def test_a_vector_of_zeros_has_a_distance_too() -> None:
    memory = remembered(familiar())
    assert memory is not None
    assert memory.distances(np.zeros((1, 16))).tolist() == [1.0]


def test_too_few_images_and_too_many_numbers_are_not_remembered() -> None:
    assert remembered(familiar(FEWEST - 1)) is None
    assert remembered(familiar(FEWEST)) is not None
    assert room(10**9) == 0
    large = remembered(familiar(5000))
    assert large is not None
    assert len(large.unit_BD) == 1000
