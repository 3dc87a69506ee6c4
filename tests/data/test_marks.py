"""What a person decided becomes a manifest: labels, exclusions, groups that stay on one side."""

import pyarrow as pa

from sortal.data.marks import BY_HAND, Mark, free_groups, marked
from sortal.manifest import SCHEMA, Manifest


def manifest(*rows: dict) -> Manifest:
    """Rows named a, b, c and so on, of class 'x' unless they say otherwise."""
    full = [{"source": chr(97 + number), "labels": ["x"]} | row for number, row in enumerate(rows)]
    return Manifest(pa.Table.from_pylist(full, schema=SCHEMA), ("x", "y"), "/photos")


def test_a_label_is_changed_and_nothing_else() -> None:
    before = manifest({"split": "train"}, {})
    after = marked(before, {"a": Mark(labels=("y",))})
    assert after.column("labels") == [["y"], ["x"]]
    assert after.with_column("labels", before.column("labels")).table.equals(before.table)


def test_an_excluded_image_keeps_its_row_and_an_older_reason() -> None:
    after = marked(manifest({}, {"exclusion": "truncated"}), {"a": Mark(excluded=True), "b": Mark(excluded=True)})
    assert after.column("exclusion") == [BY_HAND, "truncated"]


def test_marked_images_make_a_group_and_others_have_none() -> None:
    after = marked(manifest({}, {}, {}), {"a": Mark(group=1), "c": Mark(group=1)})
    assert after.column("group") == ["marked-1", None, "marked-1"]


def test_two_numbers_are_two_groups() -> None:
    after = marked(manifest({}, {}, {}), {"a": Mark(group=1), "b": Mark(group=10), "c": Mark(group=10)})
    assert after.column("group") == ["marked-1", "marked-10", "marked-10"]


def test_all_that_shared_a_group_with_a_marked_image_comes_along() -> None:
    rows = [{"group": "p"}, {"group": "p"}, {"group": "q"}, {"group": "q"}, {"group": "r"}]
    after = marked(manifest(*rows), {"a": Mark(group=2), "c": Mark(group=2)})
    assert after.column("group") == ["marked-2"] * 4 + ["r"]


def test_two_numbers_that_meet_in_one_old_group_become_the_lower() -> None:
    after = marked(manifest({"group": "p"}, {"group": "p"}, {}), {"a": Mark(group=10), "b": Mark(group=9), "c": Mark(group=10)})
    assert after.column("group") == ["marked-9"] * 3


def test_a_group_that_stands_on_two_sides_trains() -> None:
    rows = [{"split": "test"}, {"split": "train"}, {"split": "test"}, {"split": None}]
    after = marked(manifest(*rows), {source: Mark(group=1) for source in "abd"})
    assert after.column("split") == ["train", "train", "test", None]


def test_a_group_of_validation_and_test_images_judges_choices() -> None:
    after = marked(manifest({"split": "test"}, {"split": "val"}), {source: Mark(group=1) for source in "ab"})
    assert after.column("split") == ["val", "val"]


def test_other_groups_on_two_sides_are_left_alone() -> None:
    rows = [{"group": "p", "split": "train"}, {"group": "p", "split": "test"}, {}]
    after = marked(manifest(*rows), {"c": Mark(labels=("y",))})
    assert after.column("split") == ["train", "test", None]


def test_sources_that_are_not_there_are_passed_over() -> None:
    before = manifest({})
    assert marked(before, {"zzz": Mark(excluded=True)}).table.equals(before.table)


def test_a_free_number_is_one_that_neither_manifest_nor_marks_have() -> None:
    assert next(free_groups(manifest({}), ())) == 1
    assert next(free_groups(manifest({"group": "marked-1"}, {"group": "marked-3"}), [2])) == 4


def test_numbers_of_groups_go_on_upwards() -> None:
    numbers = free_groups(manifest({"group": "marked-2"}), ())
    assert [next(numbers) for _ in range(3)] == [1, 3, 4]


def test_an_image_that_was_set_aside_is_used_again_but_not_one_that_cannot_be_read() -> None:
    after = marked(
        manifest({"exclusion": BY_HAND}, {"exclusion": "truncated"}), {source: Mark(excluded=False) for source in "ab"}
    )
    assert after.column("exclusion") == [None, "truncated"]


def test_what_was_decided_since_the_training_is_taken_back_for_the_image_that_is_named() -> None:
    trained = manifest({"split": "train"}, {"split": "test", "exclusion": BY_HAND}, {})
    since = marked(trained, {"a": Mark(labels=("y",), excluded=True), "b": Mark(excluded=False), "c": Mark(labels=("y",))})
    after = marked(since, {"a": Mark(back=True), "b": Mark(back=True)}, trained)
    assert after.column("labels") == [["x"], ["x"], ["y"]]
    assert after.column("exclusion") == [None, BY_HAND, None]


def test_a_group_taken_back_takes_along_all_that_shared_the_old_one_with_its_side() -> None:
    trained = manifest({"group": "p", "split": "test"}, {"group": "p", "split": "test"}, {"split": "train"}, {"split": "val"})
    since = marked(trained, {source: Mark(group=1) for source in "acd"})
    assert (since.column("group"), since.column("split")) == (["marked-1"] * 4, ["train"] * 4)
    after = marked(since, {"a": Mark(back=True)}, trained)
    assert after.column("group") == ["p", "p", "marked-1", "marked-1"]
    assert after.column("split") == ["test", "test", "train", "train"]


def test_a_number_that_is_a_groups_name_already_joins_it() -> None:
    after = marked(manifest({"group": "marked-1"}, {"group": "marked-1"}, {}), {"c": Mark(group=1)})
    assert after.column("group") == ["marked-1"] * 3
