"""A study's images: divided once, drawn by content."""

import numpy as np
import pyarrow as pa
import pytest

from sortal.errors import DataError
from sortal.manifest import SCHEMA, Manifest
from sortal.studies.images import divided, drawn, only
from sortal.studies.model import Images


def manifest(counts: dict[str, int], *, given: tuple[str, ...] = (), splits: dict[int, str] | None = None) -> Manifest:
    rows, number = [], 0
    for label, count in counts.items():
        for _ in range(count):
            split = (splits or {}).get(number % 10)
            rows.append(
                {"source": f"{label}/{number}.png", "content": f"{number * 7919:064x}"[::-1], "labels": [label], "split": split}
            )
            number += 1
    return Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), tuple(sorted(counts)), "/photos", given)


def test_without_given_splits_a_tenth_judges_choices_and_fifteen_hundredths_the_result() -> None:
    found = divided(manifest({"a": 100, "b": 100}), Images())
    assert found.split_counts() == {"train": 150, "val": 20, "test": 30}
    assert found.given_splits == ("train", "val", "test")


def test_exactly_as_many_are_used_as_are_asked_for_class_by_class() -> None:
    found = divided(manifest({"a": 300, "b": 100}), Images(train=40, val=20, test=12))
    assert found.split_counts() == {"train": 40, "val": 20, "test": 12}
    assert [found.split(name).counts() for name in ("train", "val", "test")] == [
        {"a": 30, "b": 10}, {"a": 15, "b": 5}, {"a": 9, "b": 3},
    ]  # fmt: skip


def test_given_splits_stay_and_are_thinned() -> None:
    splits = {number: "test" if number < 2 else "train" for number in range(10)}
    whole = manifest({"a": 100, "b": 100}, given=("train", "test"), splits=splits)
    found = divided(whole, Images(test=10, val=20))
    assert found.split_counts() == {"train": 140, "val": 20, "test": 10}
    given = dict(zip(whole.sources, whole.column("split"), strict=True))
    for source, split in zip(found.sources, found.column("split"), strict=True):
        assert (split == "test") == (given[source] == "test")


def test_a_smaller_draw_is_part_of_a_larger_one_and_does_not_depend_on_the_order() -> None:
    labels = np.repeat([0, 1], 200)
    keys = np.random.default_rng(0).integers(0, 2**63, 400).astype(np.uint64)
    small, large = (set(drawn(labels, keys, count, 3).tolist()) for count in (20, 100))
    assert small < large
    order = np.random.default_rng(1).permutation(400)
    assert {int(order[place]) for place in drawn(labels[order], keys[order], 20, 3)} == small
    assert set(drawn(labels, keys, 20, 4).tolist()) != small


def test_a_rare_class_is_not_lost() -> None:
    labels = np.array([0] * 500 + [1])
    assert 500 in drawn(labels, np.arange(501, dtype=np.uint64), 10, 0)


def test_what_is_not_there_is_told_all_at_once() -> None:
    splits = {number: ("test", "val", "train")[min(2, number)] for number in range(10)}
    whole = manifest({"a": 50, "b": 50}, given=("train", "val", "test"), splits=splits)
    with pytest.raises(DataError) as caught:
        divided(whole, Images(train=1000, val=11, test=11))
    for told in ("images.train: 1,000 are wanted and there are 80", "images.val: 11", "images.test: 11"):
        assert told in str(caught.value)


def test_validation_and_test_leave_something_to_train_on() -> None:
    with pytest.raises(DataError, match="too few"):
        divided(manifest({"a": 50, "b": 50}), Images(val=60, test=40))


def test_fewer_training_images_than_classes_are_refused() -> None:
    with pytest.raises(DataError, match="cannot show 3 classes"):
        divided(manifest({"a": 50, "b": 50, "c": 50}), Images(train=2))


def test_the_test_images_can_be_kept_apart() -> None:
    found = divided(manifest({"a": 100, "b": 100}), Images())
    apart, rest = only(found, "test"), only(found, "train", "val")
    assert not set(apart.sources) & set(rest.sources)
    assert (apart.given_splits, rest.given_splits) == (("test",), ("train", "val"))
    assert len(apart) + len(rest) == len(found)
