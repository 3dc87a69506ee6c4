"""Splits and folds of images with several labels: the laws of one label hold, and every label is shared out."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sortal.data.split import assign_folds, assign_splits, can_be_held_out, remembered, units
from sortal.manifest import Manifest

Make = Callable[..., Manifest]
SLOW_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)

ROW = st.tuples(
    st.sets(st.sampled_from("abc")),  # labels, also none
    st.integers(0, 40),  # content: with copies
    st.one_of(st.none(), st.integers(0, 8)),  # group
)
ROWS = st.lists(ROW, min_size=1, max_size=50)


def manifest_of(make: Make, rows: list[tuple[set[str], int, int | None]], **columns: Any) -> Manifest:
    # A first image of two labels and one of none, so that the set is one of several labels whatever else is in it.
    rows = [({"a", "b"}, 100, None), (set(), 101, None), *rows]
    manifest = make(
        "a" * len(rows),
        content=[f"{content}" for _, content, _ in rows],
        group=[None if group is None else f"g{group}" for _, _, group in rows],
        **columns,
    )
    manifest = manifest.with_column("labels", [sorted(labels) for labels, _, _ in rows])
    return Manifest(manifest.table, ("a", "b", "c"), manifest.root, manifest.given_splits)


def plain(make: Make, labels: list[set[str]]) -> Manifest:
    return manifest_of(make, [(names, number, None) for number, names in enumerate(labels)])


@SLOW_FIXTURE
@given(rows=ROWS, seed=st.integers(0, 5))
def test_no_copy_and_no_group_stands_on_two_sides(make_manifest: Make, rows: list[Any], seed: int) -> None:
    split = assign_splits(manifest_of(make_manifest, rows), val=0.2, test=0.2, seed=seed)
    sides = split.column("split")
    assert None not in sides
    found: dict[int, set[str]] = defaultdict(set)
    for unit, side in zip(units(split).tolist(), sides, strict=True):
        found[unit].add(side)
    assert all(len(of_unit) == 1 for of_unit in found.values())


@SLOW_FIXTURE
@given(rows=ROWS, seed=st.integers(0, 5))
def test_the_order_of_the_rows_does_not_matter(make_manifest: Make, rows: list[Any], seed: int) -> None:
    manifest = manifest_of(make_manifest, rows)
    order = np.random.default_rng(seed).permutation(len(manifest))
    one = assign_splits(manifest, val=0.2, test=0.2, seed=seed).take(order)
    other = assign_splits(manifest.take(order), val=0.2, test=0.2, seed=seed)
    assert remembered(one, "split") == remembered(other, "split")


@SLOW_FIXTURE
@given(rows=ROWS, seed=st.integers(0, 5))
def test_every_label_is_learnt(make_manifest: Make, rows: list[Any], seed: int) -> None:
    manifest = assign_splits(manifest_of(make_manifest, rows), val=0.3, test=0.3, seed=seed)
    assert set(manifest.split("train").label_pairs_2P[1].tolist()) == set(manifest.label_pairs_2P[1].tolist())


@SLOW_FIXTURE
@given(labels=st.lists(st.sets(st.sampled_from("abc")), min_size=1, max_size=30), seed=st.integers(0, 5))
def test_adding_images_moves_none(make_manifest: Make, labels: list[set[str]], seed: int) -> None:
    before = remembered(assign_splits(plain(make_manifest, labels), val=0.2, test=0.2, seed=seed), "split")
    more = plain(make_manifest, [*labels, {"a", "c"}, {"b"}, set()])
    after = remembered(assign_splits(more, val=0.2, test=0.2, seed=seed, previous=before), "split")
    assert after | before == after


def test_every_label_and_the_images_without_are_shared_out_nearly_evenly(make_manifest: Make) -> None:
    random = np.random.default_rng(0)
    labels = [
        {name for name, share in zip("abc", (0.5, 0.2, 0.06), strict=True) if random.random() < share} for _ in range(500)
    ]
    manifest = assign_splits(plain(make_manifest, labels), val=0.2, test=0.2, seed=0)
    for name in ("val", "test"):
        rows = manifest.split(name)
        assert len(rows) == pytest.approx(100, abs=3)
        for label, images in manifest.counts().items():
            assert rows.counts()[label] == pytest.approx(0.2 * images, abs=3), label
        without = [not names for names in manifest.column("labels")]
        assert sum(not names for names in rows.column("labels")) == pytest.approx(0.2 * sum(without), abs=6)


def test_folds_share_out_rare_labels_and_another_seed_gives_others(make_manifest: Make) -> None:
    labels = [{"a"}, {"a", "b"}] * 20 + [{"a", "c"}] * 10 + [set()] * 5
    manifest = assign_splits(plain(make_manifest, labels), val=0.0, test=0.0, seed=0)
    folds = [np.array(assign_folds(manifest, 5, seed=seed).column("fold")) for seed in (0, 1)]
    for fold in range(5):
        inside = manifest.take(np.flatnonzero(folds[0] == fold))
        assert inside.counts()["c"] == 2
        assert inside.counts()["b"] == pytest.approx(4, abs=1)
    assert (folds[0] != folds[1]).any()


def test_the_only_image_of_a_label_trains_whatever_else_it_shows(make_manifest: Make) -> None:
    manifest = plain(make_manifest, [{"a", "c"}, {"a"}, {"b"}, {"b"}])
    assert can_be_held_out(manifest).tolist() == [True, True, False, True, True, True]
    for seed in range(5):
        split = assign_splits(manifest, val=0.4, test=0.4, seed=seed)
        assert split.column("split")[2] == "train"


def test_given_splits_stay(make_manifest: Make) -> None:
    labels = [{"a"}, {"b"}, {"a", "b"}, set()] * 5
    given = ["test", None] * 11
    manifest = manifest_of(
        make_manifest, [(names, number, None) for number, names in enumerate(labels)], split=given, given=("test",)
    )
    sides = assign_splits(manifest, val=0.3, test=0.2, seed=0).column("split")
    assert all(now == "test" for now, was in zip(sides, given, strict=True) if was)
    assert {now for now, was in zip(sides, given, strict=True) if not was} == {"train", "val"}
