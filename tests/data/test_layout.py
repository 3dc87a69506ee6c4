"""What the names of a tree say about classes and splits."""

from pathlib import Path

import pytest

from sortal.data.layout import Listing, read_tree
from sortal.errors import DataError


class Names:
    """A source of names alone."""

    def __init__(self, names: str) -> None:
        self._names = names.split()

    def names(self) -> list[str]:
        return self._names

    def read(self, name: str) -> bytes:
        raise AssertionError("a layout is read from names alone")

    def close(self) -> None: ...


def read(names: str) -> Listing:
    return read_tree(Names(names), Path("/photos"))


def rows(names: str) -> list[tuple[str, str, str | None]]:
    listing = read(names)
    return [(name, label[0], split) for name, label, split in zip(listing.names, listing.labels, listing.splits, strict=True)]


def test_one_folder_a_class() -> None:
    assert rows("ants/1.jpg bees/2.jpg") == [("ants/1.jpg", "ants", None), ("bees/2.jpg", "bees", None)]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_splits_of_class_folders(val: str) -> None:
    listing = read(f"train/ants/1.jpg {val}/bees/2.jpg test/ants/3.jpg")
    assert listing.splits == ["train", "val", "test"]
    assert listing.labels == [("ants",), ("bees",), ("ants",)]
    assert listing.given_splits == ("train", "val", "test")


def test_folders_that_wrap_everything_are_taken_off() -> None:
    assert rows("a/b/train/ants/1.jpg a/b/val/bees/2.jpg a/README.md") == [
        ("a/b/train/ants/1.jpg", "ants", "train"),
        ("a/b/val/bees/2.jpg", "bees", "val"),
    ]
    assert [label for _, label, _ in rows("./pets/ants/1.jpg ./pets/bees/2.jpg")] == ["ants", "bees"]


def test_folders_inside_a_class_belong_to_it() -> None:
    assert [label for _, label, _ in rows("ants/2020/1.jpg ants/2021/2.jpg bees/3.jpg")] == ["ants", "ants", "bees"]


def test_a_class_may_be_called_train() -> None:
    assert rows("bus/1.jpg train/2.jpg")[1] == ("train/2.jpg", "train", None)


def test_hidden_files_and_what_systems_leave_are_passed_over() -> None:
    junk = "ants/.DS_Store __MACOSX/ants/._1.jpg bees/Thumbs.db .git/x/y.jpg ants/.hidden/3.jpg"
    assert [name for name, _, _ in rows(f"ants/1.jpg bees/2.jpg {junk}")] == ["ants/1.jpg", "bees/2.jpg"]


def test_other_files_inside_a_class_are_rows_and_those_beside_the_classes_are_not() -> None:
    assert [name for name, _, _ in rows("ants/1.jpg ants/README.txt bees/2.jpg LICENSE")] == [
        "ants/1.jpg",
        "ants/README.txt",
        "bees/2.jpg",
    ]


def test_images_without_suffixes_show_the_layout_where_there_are_no_others() -> None:
    assert [label for _, label, _ in rows("ants/1 bees/2")] == ["ants", "bees"]


@pytest.mark.parametrize(
    ("names", "message", "cure"),
    [
        ("", "holds no images", "one folder a class"),
        (".hidden/a.jpg", "holds no images", "one folder a class"),
        ("1.jpg 2.jpg", "holds images but no class folders: 1.jpg, 2.jpg", "one folder a class"),
        ("1.jpg 2.jpg labels.csv", "holds images but no class folders", "sortal check /photos/labels.csv"),
        ("ants/1.jpg bees/2.jpg 3.jpg", "1 image stands beside the class folders of /photos: 3.jpg", "move"),
        ("x/ants/1.jpg x/bees/2.jpg x/3.jpg", "1 image stands beside the class folders of /photos/x: 3.jpg", "move"),
        ("train/ants/1.jpg train/2.jpg", "1 image stands beside the class folders of /photos: train/2.jpg", "move"),
        ("train/1.jpg val/2.jpg", "holds images but no class folders", "one folder a class"),
        (
            "train/ants/1.jpg notes/2.jpg",
            "holds train/ with class folders, and beside them other folders with images: notes",
            "one folder",
        ),
    ],
)
def test_a_tree_that_does_not_say_is_an_error_with_place_and_cure(names: str, message: str, cure: str) -> None:
    with pytest.raises(DataError) as caught:
        read(names)
    assert message in str(caught.value)
    assert cure in caught.value.hint


def test_only_the_first_misplaced_images_are_listed() -> None:
    with pytest.raises(DataError, match=r"90 images stand beside .*, \.\.\.$"):
        read("ants/1.jpg bees/2.jpg " + " ".join(f"{number}.jpg" for number in range(90)))
