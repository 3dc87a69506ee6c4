"""Writing whole or not at all."""

import errno
from pathlib import Path

import pytest

from sortal import files
from sortal.errors import MachineFailed
from sortal.files import append, creating, replacing, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "old")
    write_text(tmp_path / "a" / "b.txt", "new")
    assert (tmp_path / "a" / "b.txt").read_text() == "new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_an_error_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    write_text(path, "old")

    def interrupted() -> None:
        with replacing(path) as part:
            part.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["b.txt"]


def test_a_full_disk_says_where_and_what_to_do(tmp_path: Path) -> None:
    def filling() -> None:
        with replacing(tmp_path / "b.txt") as part:
            part.write_text("ne")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineFailed, match=r"b\.txt is full") as caught:
        filling()
    assert caught.value.exit_code == 3
    assert "--resume" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_other_errors_of_the_system_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), replacing(tmp_path / "b.txt"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_new_file_takes_no_name_that_is_taken_also_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    for name in ("a", "b"):
        with creating(tmp_path / name) as part:
            part.write_text("ours")
        assert (tmp_path / name).read_text() == "ours"
        with pytest.raises(FileExistsError), creating(tmp_path / name) as part:
            part.write_text("other")
        assert (tmp_path / name).read_text() == "ours"
        monkeypatch.setattr(files.os, "link", refuse)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]


def test_what_is_added_stands_at_the_end(tmp_path: Path) -> None:
    append(tmp_path / "a", b"1", hint="")
    append(tmp_path / "a", b"2", hint="")
    assert (tmp_path / "a").read_bytes() == b"12"


def test_a_file_that_may_not_be_written_is_told_with_the_hint(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(MachineFailed, match="a cannot be written: Is a directory") as caught:
        append(tmp_path / "a", b"1", hint="the cure")
    assert caught.value.hint == "the cure"
