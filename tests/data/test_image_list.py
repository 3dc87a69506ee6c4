import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.data.image_list import holds, prefix, write
from sortal.data.tables import read_csv
from sortal.errors import DataError, RunExists

ROWS = [("a/1.jpg", "ants", "train"), ("b/2.jpg", 'bees, "wild"', "test")]


def test_what_is_written_is_a_table_that_is_read(tmp_path):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    listing = read_csv(write(tmp_path / "list.csv", ROWS))
    assert list(listing.names) == ["a/1.jpg", "b/2.jpg"]
    assert list(listing.labels) == [("ants",), ('bees, "wild"',)]
    assert listing.given_splits == ("train", "test")


text = st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(text, text, st.sampled_from(["train", "test"]))))
def test_a_file_holds_the_rows_it_was_written_from_and_no_others(tmp_path_factory, rows):
    path = write(tmp_path_factory.mktemp("x") / "list.csv", rows)
    assert holds(path, rows)
    assert not holds(path, [*rows, ROWS[0]])
    assert not holds(path, rows[:-1]) or not rows


def test_other_files_do_not_hold_the_rows(tmp_path):
    path = write(tmp_path / "list.csv", ROWS)
    assert not holds(path, [ROWS[0], ("b/2.jpg", "bees", "test")])
    path.write_bytes(path.read_bytes() + b"\n")
    assert not holds(path, ROWS)
    path.write_bytes(b"\xff\xfe")
    assert not holds(path, ROWS)
    assert not holds(tmp_path, ROWS)
    with pytest.raises(RunExists, match="already exists"):
        write(path, ROWS)


def test_a_label_that_would_be_several_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg: 'x\|y' cannot be a label"):
        write(tmp_path / "list.csv", [ROWS[0], ("a.jpg", "x|y", "train")])
    assert list(tmp_path.iterdir()) == []


def test_paths_are_relative_to_the_table_where_the_images_are_below_it(tmp_path):
    assert prefix(tmp_path, tmp_path / "list.csv") == ""
    assert prefix(tmp_path / "photos", tmp_path / "list.csv") == "photos/"
    assert prefix(tmp_path / "photos", tmp_path / "lists" / "list.csv") == f"{tmp_path}/photos/"
