"""Writing whole or not at all."""

import errno
from pathlib import Path

import pytest

from sortal.errors import MachineFailed
from sortal.files import replacing, write_text


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
