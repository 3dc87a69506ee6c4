import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sortal.augment import draws

KEYS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20).map(lambda keys: np.array(keys, dtype=np.uint64))
GOLDEN = [[0.006405234336853027, 0.7771707773208618], [0.8235349059104919, 0.7222680449485779]]
GOLDEN_STEP = 8050874549215766876
GOLDEN_ORDER = [0, 3, 2, 4, 1]


# The known answers of philox4x32 with 10 rounds in Random123's kat_vectors.
@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    words = draws.philox(np.array([counter, counter], dtype=np.uint32), key)
    assert words.tolist() == [answer, answer]


@given(KEYS, st.randoms())
def test_a_draw_depends_neither_on_order_nor_on_company(keys_N, random):
    order = list(range(len(keys_N)))
    random.shuffle(order)
    some = order[: random.randint(1, len(order))]
    whole_N = draws.uniform(7, 3, keys_N, "flip", 5)
    assert np.array_equal(draws.uniform(7, 3, keys_N[some], "flip", 5), whole_N[some])


@given(KEYS, st.integers(2, 9))
def test_the_first_draws_of_a_key_are_the_same_whatever_the_count(keys_N, count):
    many = draws.uniform(0, 0, keys_N, "crop", count)
    assert many.shape == (len(keys_N), count)
    assert np.array_equal(draws.uniform(0, 0, keys_N, "crop"), many[:, 0])


@given(KEYS, st.integers(0, 2**63 - 1), st.integers(0, 2**32))
def test_draws_lie_in_the_half_open_unit_interval(keys_N, seed, epoch):
    draw = draws.uniform(seed, epoch, keys_N, "x", 4)
    assert draw.dtype == np.float32
    assert draw.min() >= 0
    assert draw.max() < 1


def test_draws_have_the_moments_of_the_uniform_distribution():
    draw = draws.uniform(1, 2, np.arange(100_000, dtype=np.uint64), "moments", 2).astype(np.float64)
    assert abs(draw.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / draw.size)
    assert abs(draw.var() - 1 / 12) < 0.001
    counts, _ = np.histogram(draw, bins=10, range=(0, 1))
    assert (abs(counts - 20_000) < 5 * np.sqrt(20_000 * 0.9)).all()


def test_names_seeds_epochs_and_positions_give_uncorrelated_draws():
    keys_N = np.arange(20_000, dtype=np.uint64)
    places = [(0, 0, "a"), (0, 0, "b"), (0, 1, "a"), (1, 0, "a")]
    columns = [draws.uniform(seed, epoch, keys_N, name) for seed, epoch, name in places]
    columns += list(draws.uniform(5, 5, keys_N, "many", 6).T)
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert abs(correlation).max() < 5 / np.sqrt(len(keys_N))


def test_keys_that_differ_only_above_32_bits_differ_in_their_draws():
    low_high = np.array([1, 1 + 2**32], dtype=np.uint64)
    first, second = draws.uniform(0, 0, low_high, "x")
    assert first != second


def test_draws_never_change_between_versions():
    # Golden: a run of an older version could not be resumed if these moved.
    assert draws.uniform(0, 0, np.array([0, 1], dtype=np.uint64), "golden", 2).tolist() == GOLDEN
    assert draws.step_seed(0, 0) == GOLDEN_STEP
    assert draws.permutation(0, 0, 5, "golden").tolist() == GOLDEN_ORDER


@given(st.integers(0, 50), st.integers(0, 5))
def test_a_permutation_holds_every_index_once(n, epoch):
    assert sorted(draws.permutation(3, epoch, n, "order").tolist()) == list(range(n))


def test_each_epoch_has_its_own_order():
    assert draws.permutation(0, 0, 100, "order").tolist() != draws.permutation(0, 1, 100, "order").tolist()


def test_integers_reach_both_ends_and_nothing_beyond():
    ends = draws.integers(np.array([0.0, 1 - 2**-24], dtype=np.float32), -4, 4)
    assert ends.tolist() == [-4, 4]
    found = draws.integers(draws.uniform(0, 0, np.arange(1000, dtype=np.uint64), "i"), 0, 2)
    assert np.bincount(found, minlength=3).min() > 250


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_beta_draws_have_the_moments_of_the_beta_distribution(alpha):
    draw = draws.beta(alpha, draws.uniform(0, 0, np.arange(50_000, dtype=np.uint64), "beta"))
    assert abs(draw.mean() - 0.5) < 0.01
    assert abs(draw.var() - 1 / (4 * (2 * alpha + 1))) < 0.002


def test_step_seeds_fit_a_generator_and_differ():
    seeds = {draws.step_seed(seed, step) for seed in range(3) for step in range(100)}
    assert len(seeds) == 300
    assert all(0 <= s < 2**63 for s in seeds)


def test_a_count_of_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        draws.uniform(0, 0, np.zeros(1, dtype=np.uint64), "x", 0)


@settings(deadline=None)
@given(KEYS, st.randoms(), st.integers(1, 9))
def test_draws_for_pixels_depend_neither_on_order_company_nor_count(keys_N, random, count):
    order = list(range(len(keys_N)))
    random.shuffle(order)
    some = order[: random.randint(1, len(order))]
    for draw in (draws.grains, draws.normals):
        whole_ND = draw(7, 3, keys_N, "noise", 10)
        assert whole_ND.dtype == np.float32
        assert np.array_equal(draw(7, 3, keys_N[some], "noise", count), whole_ND[some, :count])


def test_grains_are_even_and_never_0_or_1():
    grains_ND = draws.grains(0, 0, np.arange(100, dtype=np.uint64), "noise", 1001)
    assert grains_ND.shape == (100, 1001)
    assert grains_ND.min() > 0
    assert grains_ND.max() < 1
    assert stats.kstest(grains_ND.ravel(), "uniform").pvalue > 0.01


def test_normals_are_normal_and_independent_between_neighbours():
    normals_ND = draws.normals(0, 0, np.arange(100, dtype=np.uint64), "noise", 1000)
    assert stats.kstest(normals_ND.ravel(), "norm").pvalue > 0.01
    assert np.abs(normals_ND).max() < 4.9
    for step in (1, 2, 3):
        assert abs(np.corrcoef(normals_ND[:, step:].ravel(), normals_ND[:, :-step].ravel())[0, 1]) < 0.01
