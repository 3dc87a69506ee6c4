"""What a person decided becomes a manifest: labels, exclusions, groups that stay on one side."""

import pyarrow as pa

from sortal.data.marks import BY_HAND, Mark, free_group, marked
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
    assert free_group(manifest({}), ()) == 1
    assert free_group(manifest({"group": "marked-1"}, {"group": "marked-3"}), [2]) == 4
