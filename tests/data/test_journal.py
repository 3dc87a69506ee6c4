"""The journal of marks: what it gives back is what was added, whatever a kill left at its end."""

from pathlib import Path

import pytest

from sortal.data.journal import Version, add_marks, add_saved, read
from sortal.data.marks import BY_HAND, Mark
from sortal.errors import DataError

FIRST, SECOND = Version("manifest.parquet", "0" * 64), Version("manifest-2.parquet", "1" * 64)
MARKS = {
    "a": Mark(labels=("x", "y"), seen=(("x",), BY_HAND)),
    "b": Mark(excluded=True),
    "c\u2028\n": Mark(labels=(), excluded=False, group=3, back=True, seen=((), None)),
}


def test_marks_come_back_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    assert read(path).marks == {}
    add_marks(path, FIRST, MARKS)
    kept = read(path)
    assert (kept.marks, kept.on, kept.torn) == (MARKS, FIRST, False)


def test_a_later_line_counts_for_its_images_and_null_takes_a_mark_away(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    add_marks(path, FIRST, MARKS)
    add_marks(path, SECOND, {"a": None, "b": Mark(group=1)})
    kept = read(path)
    assert (list(kept.marks), kept.marks["b"], kept.on) == (["c\u2028\n", "b"], Mark(group=1), SECOND)


def test_what_a_version_holds_is_no_longer_pending(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    add_marks(path, FIRST, MARKS)
    add_saved(path, SECOND)
    assert (read(path).marks, read(path).on) == ({}, None)
    add_marks(path, SECOND, {"b": Mark(excluded=True)})
    assert read(path).marks == {"b": Mark(excluded=True)}


def test_wherever_the_last_line_was_cut_the_lines_before_it_count(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    add_marks(path, FIRST, {"a": MARKS["a"]})
    whole = path.read_bytes()
    add_marks(path, FIRST, MARKS)
    data = path.read_bytes()
    for length in range(len(whole) + 1, len(data)):
        path.write_bytes(data[:length])
        kept = read(path)
        assert (kept.marks, kept.torn) == ({"a": MARKS["a"]}, True)
        assert path.read_bytes() == whole
    assert read(path).torn is False


@pytest.mark.parametrize("junk", [bytes(40), b"\xff\n", b"{}\n", b"[]\n", b'{"saved": 1}\n'])
def test_a_last_line_of_junk_as_a_power_cut_leaves_it_is_cut_off(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "marks.jsonl"
    add_marks(path, FIRST, MARKS)
    whole = path.read_bytes()
    path.write_bytes(whole + junk)
    assert (read(path).marks, path.read_bytes()) == (MARKS, whole)


def test_junk_before_other_lines_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    add_marks(path, FIRST, MARKS)
    path.write_bytes(b"junk\n" + path.read_bytes())
    with pytest.raises(DataError, match=r"line 1 of .*marks\.jsonl says nothing"):
        read(path)
