import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.evaluation.intervals import bootstrap, resampled, told_mean, told_share, wilson, wilson_f1


def test_eighty_one_of_263_has_the_interval_that_newcombe_1998_publishes() -> None:
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_no_failure_in_ten_leaves_room_for_failures() -> None:
    low, high = wilson(10, 10)
    assert low == pytest.approx(0.7225, abs=1e-4)
    assert high == 1.0


def test_without_trials_anything_is_possible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_share_lies_in_its_interval_and_the_mirrored_share_in_the_mirrored_one(
    trials: tuple[int, int], level: float
) -> None:
    successes, n = trials
    low, high = wilson(successes, n, level)
    assert 0 <= low <= successes / n <= high <= 1
    assert wilson(n - successes, n, level) == pytest.approx((1 - high, 1 - low))


def test_wilson_covers_the_truth_in_about_19_of_20_experiments() -> None:
    successes = np.random.default_rng(0).binomial(150, 0.93, size=4000)
    covered = np.mean([low <= 0.93 <= high for low, high in (wilson(int(count), 150) for count in successes)])
    assert 0.93 < covered < 0.97


def test_f1_interval_surrounds_f1() -> None:
    low, high = wilson_f1(8, 4)
    assert low < 2 * 8 / (2 * 8 + 4) < high
    assert wilson_f1(0, 0) == (0.0, 1.0)
    assert wilson_f1(5, 0)[1] == 1.0
    assert wilson_f1(0, 5)[0] == 0.0


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says() -> None:
    values_N = np.random.default_rng(1).normal(5.0, 2.0, size=400)
    (low,), (high,) = bootstrap(lambda counts_BN: (counts_BN @ values_N / 400)[:, None], 400, seed=3)
    assert low < values_N.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * values_N.std() / 20, rel=0.1)


def test_several_statistics_are_taken_of_the_same_draws() -> None:
    values_N = np.arange(10.0)
    draws_RS = resampled(lambda counts_BN: np.column_stack([counts_BN @ values_N, 2 * (counts_BN @ values_N)]), 10)
    assert draws_RS.shape == (1000, 2)
    assert (draws_RS[:, 1] == 2 * draws_RS[:, 0]).all()


def test_every_draw_has_as_many_images_as_the_data() -> None:
    draws_RS = resampled(lambda counts_BN: counts_BN.sum(axis=1, keepdims=True), 7, resamples=50)
    assert (draws_RS == 7).all()


def test_equal_seeds_give_equal_draws_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(counts_BN: np.ndarray) -> np.ndarray:
        return counts_BN[:, :1]

    whole = resampled(first, 20, resamples=30, seed=5)
    monkeypatch.setattr("sortal.evaluation.intervals.BLOCK", 60)
    assert (resampled(first, 20, resamples=30, seed=5) == whole).all()
    assert (resampled(first, 20, resamples=30, seed=6) != whole).any()


def test_intervals_over_groups_hold_the_truth_19_times_in_20_where_those_of_images_do_not() -> None:
    generator, scenes, held = np.random.default_rng(0), 60, {"groups": 0, "images": 0}
    groups_N = np.repeat(np.arange(scenes), 6)
    for _ in range(400):
        right_N = generator.random(6 * scenes) < np.repeat(generator.beta(4, 1, scenes), 6)  # 0.8 on the whole
        for name, groups in (("groups", groups_N), ("images", None)):
            low, high = told_share(right_N, groups)
            held[name] += low <= 0.8 <= high
    assert 0.92 <= held["groups"] / 400 <= 0.98
    assert held["images"] / 400 < 0.88


def test_of_one_group_nothing_is_told_and_of_equal_values_no_more_than_so_many_tell() -> None:
    one, ones = np.zeros(9, np.int64), np.ones(9)
    assert told_share(ones > 0, one) is None
    assert told_share(np.zeros(0, bool)) is None
    assert told_share(np.ones(1, bool), np.zeros(1, np.int64)) == list(wilson(1, 1))
    assert told_mean(ones, one, low=0.0, high=3.0) is None
    assert told_mean(ones[:1], low=0.0, high=3.0) is None
    low, high = told_mean(ones, low=0.0, high=3.0)
    assert 0 < low < 1 < high < 3
    spread = told_mean(np.arange(9.0), np.arange(9), low=0.0, high=8.0)
    assert 0 <= spread[0] < 4 < spread[1] <= 8
