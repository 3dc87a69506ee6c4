"""In which order images are shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.augment import draws
from sortal.augment.sampling import bounds, epoch_order, quotas, varied_keys
from sortal.recipe import Sampler

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [60, 20, 5]))
SAMPLERS = [Sampler(), Sampler(name="oversample"), Sampler(name="oversample", power=0.5), Sampler(name="balanced")]
GOLDEN = {"oversample": [3, 5, 1, 5, 5, 2], "balanced": [5, 2, 1, 5, 5, 3]}


def order(spec, labels_M=LABELS, *, batch_size=8, seed=3, epoch=0):
    return epoch_order(spec, labels_M, batch_size=batch_size, seed=seed, epoch=epoch)


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    batch_size=st.integers(1, 20),
    epoch=st.integers(0, 10_000),
    spec=st.sampled_from(SAMPLERS),
)
def test_an_epoch_is_as_long_as_the_training_split_and_no_showing_comes_twice(labels, batch_size, epoch, spec):
    found = order(spec, np.array(labels), batch_size=batch_size, epoch=epoch)
    showings = set(zip(found.places_M.tolist(), found.walks_M.tolist(), strict=True))
    assert len(found.places_M) == len(found.walks_M) == len(showings) == len(labels)
    assert found.places_M.min() >= 0
    assert found.places_M.max() < len(labels)


def test_a_shuffled_epoch_is_a_permutation_and_the_same_as_ever():
    found = order(Sampler(), epoch=4)
    assert (found.places_M == draws.permutation(3, 4, len(LABELS), "order")).all()
    assert not found.walks_M.any()


@pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: f"{spec.name} {spec.power}")
def test_an_order_depends_on_seed_and_epoch_alone(spec):
    first = order(spec, epoch=5)
    order(spec, epoch=9)
    again, later, other = order(spec, epoch=5), order(spec, epoch=6), order(spec, epoch=5, seed=4)
    assert (first.places_M == again.places_M).all()
    assert (first.walks_M == again.walks_M).all()
    assert (first.places_M != later.places_M).any()
    assert (first.places_M != other.places_M).any()


@pytest.mark.parametrize(("power", "expected"), [(0.0, [29, 28, 28]), (0.5, [46, 26, 13])])
def test_oversampling_gives_each_class_its_share_of_every_epoch(power, expected):
    for epoch in range(3):
        places = order(Sampler(name="oversample", power=power), epoch=epoch).places_M
        shares = np.bincount(LABELS[places])
        assert shares.sum() == len(LABELS)
        assert np.abs(shares - expected).max() <= 1


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=80), batch_size=st.integers(1, 20), epoch=st.integers(0, 10_000))
def test_every_balanced_batch_has_each_class_equally_often_up_to_one(labels, batch_size, epoch):
    labels_M = np.array(labels)
    places = order(Sampler(name="balanced"), labels_M, batch_size=batch_size, epoch=epoch).places_M
    for low, high in bounds(len(labels), batch_size):
        shown = np.bincount(labels_M[places[low:high]], minlength=7)[np.unique(labels_M)]
        assert shown.max() - shown.min() <= 1


def test_classes_that_a_small_batch_has_no_room_for_come_in_the_next():
    labels_M = np.repeat(np.arange(5), 8)
    places = order(Sampler(name="balanced"), labels_M, batch_size=2).places_M
    assert [len(set(labels_M[places[low : low + 2]])) for low in range(0, 40, 2)] == [2] * 20
    assert np.bincount(labels_M[places]).tolist() == [8] * 5


def test_neighbours_in_a_balanced_batch_are_of_all_pairs_of_classes():
    labels_M = np.repeat(np.arange(3), 40)
    shown = labels_M[order(Sampler(name="balanced"), labels_M, batch_size=30).places_M]
    assert len(set(zip(shown[1:], shown[:-1], strict=True))) == 9


@pytest.mark.parametrize("spec", SAMPLERS[1:], ids=lambda spec: f"{spec.name} {spec.power}")
@pytest.mark.parametrize("epochs", [1, 7, 20])
def test_images_of_a_class_are_shown_equally_often_up_to_one(spec, epochs):
    shown = sum(np.bincount(order(spec, epoch=epoch).places_M, minlength=len(LABELS)) for epoch in range(epochs))
    for label in range(3):
        assert np.ptp(shown[label == LABELS]) <= 1


@pytest.mark.parametrize("spec", SAMPLERS[1:], ids=lambda spec: f"{spec.name} {spec.power}")
def test_a_class_without_training_images_takes_no_room(spec):
    labels_M = np.array([0, 0, 0, 4])
    assert sorted(set(labels_M[order(spec, labels_M, batch_size=2).places_M])) == [0, 4]


def test_quotas_add_up_and_what_is_left_over_goes_to_the_largest_remainders():
    assert quotas(np.array([7, 2, 1]), 0.0).tolist() == [4, 3, 3]
    assert quotas(np.array([80, 20]), 0.5).tolist() == [67, 33]
    assert quotas(np.array([9, 5, 1]), 1.0).tolist() == [9, 5, 1]


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_every_class_gets_some_of_every_epoch_and_rare_ones_no_less_than_they_have(counts, power):
    counts_C = np.array(counts)
    quota_C = quotas(counts_C, power)
    assert quota_C.sum() == counts_C.sum()
    assert quota_C[counts_C.argmin()] >= counts_C.min()


def test_an_image_that_comes_again_is_varied_in_another_way():
    keys = np.array([5, 2**64 - 1], dtype=np.uint64)
    assert (varied_keys(keys, np.zeros(2, dtype=np.int64)) == keys).all()
    again = np.concatenate([varied_keys(keys, np.full(2, walk)) for walk in range(1000)])
    assert len(np.unique(again)) == 2000


def test_orders_never_change_between_versions():
    # Golden: a run of an older version could not be resumed if these moved.
    labels_M = np.array([0, 0, 0, 0, 0, 1])
    found = {name: order(Sampler(name=name), labels_M, batch_size=2, epoch=1).places_M.tolist() for name in GOLDEN}
    assert found == GOLDEN
