"""Splits and folds: nothing on two sides, nothing moves, shares are met."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sortal.data.split import assign_folds, assign_splits, can_be_held_out, remembered, units
from sortal.errors import DataError
from sortal.manifest import SPLITS, Manifest

Make = Callable[..., Manifest]
SLOW_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

ROW = st.tuples(
    st.sampled_from("abc"),  # label
    st.integers(0, 40),  # content: with copies
    st.one_of(st.none(), st.integers(0, 8)),  # group
)
ROWS = st.lists(ROW, min_size=1, max_size=60)


def manifest_of(make: Make, rows: list[tuple[str, int, int | None]], **columns: Any) -> Manifest:
    manifest = make(
        "".join(label for label, _, _ in rows),
        content=[f"{content}" for _, content, _ in rows],
        group=[None if group is None else f"g{group}" for _, _, group in rows],
        **columns,
    )
    return Manifest(manifest.table, ("a", "b", "c"), manifest.root, manifest.given_splits)


def counts(manifest: Manifest) -> dict[tuple[str, str], int]:
    return Counter(zip((label for (label,) in manifest.column("labels")), manifest.column("split"), strict=True))


def sides_by(manifest: Manifest, key: str, side: str) -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = defaultdict(set)
    for value, where in zip(manifest.column(key), manifest.column(side), strict=True):
        if value is not None and where is not None:
            found[value].add(where)
    return found


def test_units_are_what_content_and_group_connect_over_any_chain(make_manifest: Make) -> None:
    rows = [("a", 1, None), ("a", 1, 1), ("a", 2, 1), ("a", 2, 2), ("a", 3, 2), ("a", 4, None), ("a", 5, 3)]
    numbers = units(manifest_of(make_manifest, rows)).tolist()
    assert len(set(numbers[:5])) == 1
    assert len(set(numbers)) == 3


def test_a_long_chain_of_groups_is_one_unit(make_manifest: Make) -> None:
    order = np.random.default_rng(0).permutation(500).tolist()
    rows = [("a", number // 2, (number + 1) // 2 + 1) for number in order]
    assert len(set(units(manifest_of(make_manifest, rows)).tolist())) == 1


@SLOW_FIXTURE
@given(rows=ROWS, seed=st.integers(0, 5))
def test_no_copy_and_no_group_stands_on_two_sides(make_manifest: Make, rows: list[Any], seed: int) -> None:
    split = assign_splits(manifest_of(make_manifest, rows), val=0.2, test=0.2, seed=seed)
    assert None not in split.column("split")
    for key in ("content", "group"):
        assert all(len(sides) == 1 for sides in sides_by(split, key, "split").values())


@SLOW_FIXTURE
@given(rows=ROWS, added=ROWS, seed=st.integers(0, 5))
def test_adding_rows_moves_nothing_unless_they_link_what_was_apart(
    make_manifest: Make, rows: list[Any], added: list[Any], seed: int
) -> None:
    before = assign_splits(manifest_of(make_manifest, rows), val=0.2, test=0.2, seed=seed)
    after = assign_splits(
        manifest_of(make_manifest, rows + added), val=0.2, test=0.2, seed=seed, previous=remembered(before, "split")
    )
    was = before.column("split")
    sides_of_unit: dict[int, set[str]] = defaultdict(set)
    numbers = units(after).tolist()
    for number, split in zip(numbers, was, strict=False):
        sides_of_unit[number].add(split)
    for number, split in zip(numbers[: len(rows)], after.column("split"), strict=False):
        assert split == min(sides_of_unit[number], key=SPLITS.index)


@SLOW_FIXTURE
@given(rows=ROWS, seed=st.integers(0, 5), data=st.data())
def test_the_order_of_rows_does_not_matter(make_manifest: Make, rows: list[Any], seed: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    straight = assign_splits(manifest_of(make_manifest, rows), val=0.2, test=0.1, seed=seed).column("split")
    shuffled = assign_splits(manifest_of(make_manifest, [rows[row] for row in order]), val=0.2, test=0.1, seed=seed).column(
        "split"
    )
    assert [straight[row] for row in order] == shuffled


@SLOW_FIXTURE
@given(
    sizes=st.lists(st.integers(0, 50), min_size=3, max_size=3),
    val=st.floats(0, 0.45),
    test=st.floats(0, 0.45),
    seed=st.integers(0, 5),
)
def test_shares_are_met_within_one_image_in_every_class(
    make_manifest: Make, sizes: list[int], val: float, test: float, seed: int
) -> None:
    rows = [(label, number, None) for number, label in enumerate("a" * sizes[0] + "b" * sizes[1] + "c" * sizes[2])]
    if not rows:
        return
    found = counts(assign_splits(manifest_of(make_manifest, rows), val=val, test=test, seed=seed))
    for label, size in zip("abc", sizes, strict=True):
        for split, share in (("train", 1 - val - test), ("val", val), ("test", test)):
            assert abs(found.get((label, split), 0) - share * size) < 1 + 1e-6
        assert not size or found[label, "train"] >= 1


def test_totals_are_met_over_many_small_classes(make_manifest: Make) -> None:
    labels = "".join(chr(0x4E00 + number // 3) for number in range(900))
    found = Counter(assign_splits(make_manifest(labels), val=0.1, test=0.1, seed=0).column("split"))
    assert abs(found["val"] - 90) <= 2
    assert abs(found["test"] - 90) <= 2


def test_a_class_with_one_image_trains(make_manifest: Make) -> None:
    assert assign_splits(make_manifest("abb"), val=0.45, test=0.45, seed=0).column("split")[0] == "train"


def test_a_large_group_and_a_small_one_go_where_they_fit(make_manifest: Make) -> None:
    rows = [("a", number, number >= 90) for number in range(100)]
    found = counts(assign_splits(manifest_of(make_manifest, rows), val=0.1, test=0.0, seed=3))
    assert found == {("a", "train"): 90, ("a", "val"): 10}


def test_another_seed_divides_otherwise(make_manifest: Make) -> None:
    manifest = make_manifest("a" * 50 + "b" * 50)
    one, two = (assign_splits(manifest, val=0.3, test=0.0, seed=seed).column("split") for seed in (0, 1))
    assert one != two
    assert one == assign_splits(manifest, val=0.3, test=0.0, seed=0).column("split")


def test_beside_a_given_validation_split_no_other_is_carved(make_manifest: Make) -> None:
    splits = ["train"] * 20 + ["val"] * 4
    manifest = make_manifest("ab" * 12, split=splits, given=("train", "val"))
    assert assign_splits(manifest, val=0.5, test=0.0, seed=0).column("split") == splits


def test_a_missing_test_split_is_carved_from_given_training_images_alone(make_manifest: Make) -> None:
    splits = ["train"] * 20 + ["val"] * 4
    manifest = make_manifest("ab" * 12, split=splits, given=("train", "val"))
    found = assign_splits(manifest, val=0.5, test=0.2, seed=0).column("split")
    assert found[20:] == ["val"] * 4
    assert Counter(found[:20]) == {"train": 16, "test": 4}


def test_a_given_training_image_whose_copy_is_in_a_given_split_is_not_carved(make_manifest: Make) -> None:
    contents = [str(number) for number in range(10)] + ["0", "1"]
    manifest = make_manifest("a" * 12, content=contents, split=["train"] * 10 + ["val"] * 2, given=("train", "val"))
    for seed in range(5):
        found = assign_splits(manifest, val=0.0, test=0.5, seed=seed).column("split")
        assert found[:2] == ["train", "train"]
        assert found[10:] == ["val", "val"]


def test_an_image_without_a_split_joins_its_copy(make_manifest: Make) -> None:
    manifest = make_manifest("aaaa", content=["x", "x", "y", "z"], split=[None, "test", "train", None], given=("train", "test"))
    for seed in range(5):
        assert assign_splits(manifest, val=0.0, test=0.0, seed=seed).column("split") == ["test", "test", "train", "train"]


def test_what_a_manifest_already_assigned_stays(make_manifest: Make) -> None:
    first = assign_splits(make_manifest("ab" * 20), val=0.2, test=0.2, seed=0)
    assert assign_splits(first, val=0.3, test=0.0, seed=9).column("split") == first.column("split")


def test_a_link_between_training_and_judging_makes_both_train(make_manifest: Make) -> None:
    manifest = make_manifest("aaa", content=["x", "y", "z"], group=["g", "g", None])
    contents = manifest.column("content")
    previous = {contents[0]: "test", contents[1]: "train", contents[2]: "val"}
    assert assign_splits(manifest, val=0.2, test=0.2, seed=0, previous=previous).column("split") == ["train", "train", "val"]


def test_rows_that_are_set_aside_keep_what_they_have_and_count_for_nothing(make_manifest: Make) -> None:
    manifest = make_manifest("aaaab", exclusion=[None, None, None, None, "unreadable"])
    found = assign_splits(manifest, val=0.25, test=0.0, seed=0)
    assert found.column("split")[4] is None
    assert Counter(found.column("split")[:4]) == {"train": 3, "val": 1}


@SLOW_FIXTURE
@given(sizes=st.lists(st.integers(0, 30), min_size=3, max_size=3), folds=st.integers(2, 7), seed=st.integers(0, 3))
def test_folds_are_equal_and_stratified(make_manifest: Make, sizes: list[int], folds: int, seed: int) -> None:
    labels = "a" * sizes[0] + "b" * sizes[1] + "c" * sizes[2]
    judged = [label for label in labels if labels.count(label) > 1]
    if len(judged) < folds:
        return
    manifest = make_manifest(labels, split=["train"] * len(labels))
    found = assign_folds(manifest, folds, seed=seed).column("fold")
    assert [fold is None for fold in found] == [labels.count(label) == 1 for label in labels]
    totals = np.bincount([fold for fold in found if fold is not None], minlength=folds)
    assert totals.max() - totals.min() <= 1
    for label in set(judged):
        of_class = np.bincount([fold for fold, own in zip(found, labels, strict=True) if own == label], minlength=folds)
        assert of_class.max() - of_class.min() <= 1


@SLOW_FIXTURE
@given(rows=ROWS, folds=st.integers(2, 5))
def test_no_copy_and_no_group_stands_in_two_folds(make_manifest: Make, rows: list[Any], folds: int) -> None:
    manifest = manifest_of(make_manifest, rows, split=["train"] * len(rows))
    if len(set(units(manifest)[can_be_held_out(manifest)].tolist())) < folds:
        return
    found = assign_folds(manifest, folds, seed=0)
    for key in ("content", "group"):
        assert all(len(sides) == 1 for sides in sides_by(found, key, "fold").values())


def test_folds_are_of_the_training_split_alone_and_are_kept(make_manifest: Make) -> None:
    manifest = make_manifest("ab" * 10, split=["train"] * 16 + ["val"] * 4)
    folded = assign_folds(manifest, 4, seed=0)
    assert folded.column("fold")[16:] == [None] * 4
    more = make_manifest("ab" * 12, split=["train"] * 16 + ["val"] * 4 + ["train"] * 4)
    again = assign_folds(more, 4, seed=5, previous=remembered(folded, "fold"))
    assert again.column("fold")[:16] == folded.column("fold")[:16]
    assert sorted(Counter(again.column("fold")[20:]).values()) == [1, 1, 1, 1]


def test_a_class_with_one_image_trains_in_every_fold_and_is_judged_in_none(make_manifest: Make) -> None:
    manifest = assign_folds(assign_splits(make_manifest("aaaaaaabbbbbbc"), val=0, test=0, seed=0), 3, seed=0)
    folds = dict(zip(manifest.sources, manifest.column("fold"), strict=True))
    labels = [label for (label,) in manifest.column("labels")]
    assert [fold is None for fold in folds.values()] == [label == "c" for label in labels]


def test_copies_of_the_only_image_of_a_class_are_judged_in_no_fold_either(make_manifest: Make) -> None:
    rows = [*(("a", number, None) for number in range(6)), ("b", 10, None), ("b", 10, None), ("b", 11, 1), ("b", 10, 1)]
    manifest = assign_folds(assign_splits(manifest_of(make_manifest, rows), val=0, test=0, seed=0), 3, seed=0)
    assert [fold is None for fold in manifest.column("fold")] == [label == "b" for label, _, _ in rows]


def test_folds_that_a_manifest_gives_stay(make_manifest: Make) -> None:
    manifest = assign_splits(make_manifest("aaaabbbb"), val=0, test=0, seed=0)
    given = manifest.with_column("fold", [1, 1, None, 0, 0, None, 1, 7])
    folds = assign_folds(given, 2, seed=0).column("fold")
    assert [folds[row] for row in (0, 1, 3, 4, 6)] == [1, 1, 0, 0, 1]
    assert set(folds) == {0, 1}  # of two folds there is no eighth


def test_zero_folds_remove_what_there_is(make_manifest: Make) -> None:
    manifest = make_manifest("ab", split=["train", "train"], fold=[0, 1])
    assert assign_folds(manifest, 0, seed=0).column("fold") == [None, None]


def test_more_folds_than_independent_images_are_an_error(make_manifest: Make) -> None:
    manifest = make_manifest("aaabbc", content=["x", "x", "w", "y", "z", "v"], split=["train"] * 6)
    with pytest.raises(DataError, match="4 independent training images of /photos cannot make 5 folds"):
        assign_folds(manifest, 5, seed=0)
