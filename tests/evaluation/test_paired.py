"""Paired comparison over images and seeds."""

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.evaluation.paired import difference, mean_accuracy


def runs(seeds: int, images: int, share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((seeds, images)) < share


def test_the_mean_is_that_of_all_seeds_and_images() -> None:
    right = np.array([[True, False, True, True], [True, True, True, False]])
    assert mean_accuracy(right).mean == 0.75
    assert difference(right, np.zeros_like(right)).mean == 0.75


def test_the_same_answers_differ_by_nothing_and_are_not_beyond_noise() -> None:
    found = difference(runs(3, 50, 0.7), runs(3, 50, 0.7))
    assert found.mean == 0
    assert not found.beyond_noise
    assert found.low < 0 < found.high  # as good on fifty images may still be worse on others


def test_pairing_sees_what_two_intervals_apart_do_not() -> None:
    hard = np.random.default_rng(0).random(400)
    worse, better = (np.tile(hard < share, (3, 1)) for share in (0.70, 0.74))
    found = difference(better, worse)
    assert found.beyond_noise
    assert mean_accuracy(better).low < mean_accuracy(worse).high


def test_seeds_that_disagree_widen_the_interval() -> None:
    right = runs(3, 1000, 0.8)
    lucky = right.copy()
    lucky[0, :80] = True  # one seed alone is better
    lucky[1, :80] = False
    steady = difference(np.tile(lucky[:1], (3, 1)), np.tile(right[:1], (3, 1)))
    shaky = difference(lucky, right)
    assert shaky.high - shaky.low > 2 * (steady.high - steady.low)
    assert not shaky.beyond_noise


def test_limits_stay_where_accuracies_and_differences_can_be() -> None:
    perfect = np.ones((3, 10), bool)
    found = mean_accuracy(perfect)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert 0.6 < found.low < 0.8  # ten of ten is not all
    assert difference(perfect, ~perfect).high == 1.0
    assert mean_accuracy(runs(2, 6, 0.1)).low >= 0


def test_one_seed_gives_the_interval_of_the_images_alone() -> None:
    right = runs(1, 2000, 0.8)
    found = mean_accuracy(right)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(5), 0
    for _ in range(300):
        easy_N, luck_S1 = random.normal(0.7, 0.2, 500), random.normal(0, 0.015, (3, 1))
        right_SN = random.random((3, 500)) < easy_N + luck_S1
        found = mean_accuracy(right_SN)
        held += found.low <= np.clip(random.normal(0.7, 0.2, 100_000), 0, 1).mean() <= found.high
    assert 0.9 < held / 300 < 0.995


@pytest.mark.parametrize("shape", [(3, 0), (0, 5)])
def test_nothing_gives_no_interval(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError):
        mean_accuracy(np.zeros(shape, bool))


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="the same seeds and images"):
        difference(runs(3, 5, 0.5), runs(2, 5, 0.5))
