"""Stores: rows by content, whole or not at all, shared by processes, held to a limit."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sortal.data import store as module
from sortal.data.store import Cache, RowStore
from sortal.errors import DataError, MachineFailed


def content(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def contents(*numbers: int) -> list[str]:
    return [content(number) for number in numbers]


def rows(*numbers: int) -> np.ndarray:
    return np.array([[number, number + 1, number + 2] for number in numbers], dtype=np.int32).reshape(-1, 3)


def open_store(cache: Cache, key: str = "key") -> RowStore:
    return RowStore(cache, "pixels", key, (3,), np.int32)


def test_what_was_appended_is_found_by_content_in_any_order(cache: Cache) -> None:
    with open_store(cache) as store:
        store.append(contents(0, 1, 2), [rows(0), rows(1, 2)])
        store.append(contents(3), [rows(3)])
        np.testing.assert_array_equal(store.read(contents(3, 0, 2, 0, 1)), rows(3, 0, 2, 0, 1))
        assert store.missing(contents(2, 9, 3, 8, 9)) == contents(9, 8)
    with open_store(cache) as again:
        np.testing.assert_array_equal(again.read(contents(1, 3)), rows(1, 3))


def test_reading_what_is_not_there_is_a_key_error(cache: Cache) -> None:
    with open_store(cache) as store:
        store.append(contents(0), [rows(0)])
        with pytest.raises(KeyError, match=content(7)):
            store.read(contents(0, 7))


def test_reading_nothing_gives_no_rows(cache: Cache) -> None:
    with open_store(cache) as store:
        assert store.read([]).shape == (0, 3)
        store.append([], [])
        assert cache.list_stores()[0].rows == 0


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), segment=st.integers(24, 100), read=st.integers(1, 60))
def test_any_chunks_and_any_reading_give_the_same_rows(cache: Cache, data: st.DataObject, segment: int, read: int) -> None:
    count = data.draw(st.integers(1, 9))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    chunks = np.split(rows(*range(count)), cuts)
    wanted = data.draw(st.lists(st.integers(0, count - 1), max_size=40))
    with pytest.MonkeyPatch.context() as patch, open_store(cache, str(data.draw(st.uuids()))) as store:
        patch.setattr(module, "SEGMENT_BYTES", segment)
        patch.setattr(module, "READ_BYTES", read)
        store.append(contents(*range(count)), chunks)
        np.testing.assert_array_equal(store.read(contents(*wanted)), rows(*wanted))


@pytest.mark.parametrize(("shape", "dtype"), [((2, 2, 3), np.uint8), ((), np.float32), ((5,), np.float16)])
def test_rows_of_any_shape_and_type(cache: Cache, shape: tuple[int, ...], dtype: type) -> None:
    values = np.arange(4 * int(np.prod(shape)), dtype=dtype).reshape(4, *shape)
    with RowStore(cache, "features", "key", shape, dtype) as store:
        store.append(contents(*range(4)), [values])
        found = store.read(contents(2, 1))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values[[2, 1]])


def test_one_part_of_each_row_is_read_alone(cache: Cache) -> None:
    parts = np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 2, 2)
    with RowStore(cache, "features", "key", (3, 2, 2), np.float32) as store:
        store.append(contents(0, 1, 2), [parts[:3]])
        store.append(contents(3, 4), [parts[3:]])
        rows_B, part_B = np.array([4, 0, 2, 4, 1]), np.array([2, 0, 1, 0, 2])
        places_B = store.locate(contents(*rows_B.tolist()))
        np.testing.assert_array_equal(store.take_parts(places_B, part_B), parts[rows_B, part_B])
        assert store.take_parts(places_B[:0], part_B[:0]).shape == (0, 2, 2)


def test_stores_of_another_key_shape_or_type_know_nothing_of_each_other(cache: Cache) -> None:
    with open_store(cache) as store:
        store.append(contents(0), [rows(0)])
    for other in (
        open_store(cache, "other"),
        RowStore(cache, "features", "key", (3,), np.int32),
        RowStore(cache, "pixels", "key", (4,), np.int32),
        RowStore(cache, "pixels", "key", (3,), np.int64),
    ):
        with other:
            assert other.missing(contents(0)) == contents(0)


def test_places_stay_valid_when_more_is_added(cache: Cache) -> None:
    with open_store(cache) as store, open_store(cache) as another:
        store.append(contents(5, 6), [rows(5, 6)])
        places = store.locate(contents(6, 5, 7))
        assert places[2] == -1
        for number in range(20):
            another.append(contents(number), [rows(number)])
        assert store.missing(contents(0, 19)) == []
        np.testing.assert_array_equal(store.take(places[:2]), rows(6, 5))
        np.testing.assert_array_equal(store.read(contents(0, 19)), rows(0, 19))


def test_hashes_that_differ_only_by_zeros_at_the_end_are_different(cache: Cache) -> None:
    one, two = "ab" * 31 + "00", "ab" * 30 + "0000"
    with open_store(cache) as store:
        store.append([one], [rows(1)])
        assert store.missing([one, two]) == [two]
        store.append([two], [rows(2)])
        np.testing.assert_array_equal(store.read([two, one]), rows(2, 1))


@pytest.mark.parametrize(("count", "problem"), [(1, "more rows"), (3, "fewer rows")])
def test_rows_and_contents_must_be_as_many(cache: Cache, count: int, problem: str) -> None:
    with open_store(cache) as store, pytest.raises(AssertionError, match=problem):
        store.append(contents(*range(count)), [rows(0, 1)])


def files(store: RowStore, pattern: str) -> list[Path]:
    return sorted(store.path.glob(pattern))


def interrupted() -> Iterator[np.ndarray]:
    yield rows(0, 1)
    raise InterruptedError


def test_an_error_half_way_leaves_nothing_of_the_segment_and_all_of_those_before(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(cache) as store:
        with pytest.raises(InterruptedError):
            store.append(contents(0, 1, 2), interrupted())
        assert files(store, "*.rows") == files(store, ".*.part") == []
        monkeypatch.setattr(module, "SEGMENT_BYTES", 12)  # one row
        with pytest.raises(InterruptedError):
            store.append(contents(0, 1, 2), interrupted())
        assert store.missing(contents(0, 1, 2)) == contents(2)


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from sortal.data.store import Cache, RowStore
def chunks():
    yield np.zeros((1, 3), np.int32)
    os.kill(os.getpid(), signal.SIGKILL)
RowStore(Cache(Path(sys.argv[1])), "pixels", "key", (3,), np.int32).append(["00" * 32, "11" * 32], chunks())
"""


def test_what_a_killed_process_left_is_ignored_and_removed(cache: Cache) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(cache.root)], check=False)
    path = cache.list_stores()[0].path
    assert len(list(path.glob(".*.part"))) == 1
    with open_store(cache) as store:
        assert store.missing(["00" * 32]) == ["00" * 32]
        assert files(store, ".*.part") == []


def test_a_part_of_a_living_process_is_not_removed(cache: Cache) -> None:
    with open_store(cache) as store:
        (store.path / ".abc.rows.1-1.part").write_bytes(b"being written")
        with open_store(cache):
            assert len(files(store, ".*.part")) == 1


@pytest.mark.parametrize("damage", ["rows cut", "rows gone", "index cut", "index empty", "index foreign", "rows longer"])
def test_a_damaged_segment_is_never_trusted_and_is_removed(cache: Cache, damage: str) -> None:
    with open_store(cache) as store:
        store.append(contents(0, 1), [rows(0, 1)])
        store.append(contents(2), [rows(2)])
        index = next(file for file in files(store, "*.index") if file.with_suffix(".rows").stat().st_size == 24)
    data = index.with_suffix(".rows")
    match damage:
        case "rows cut":
            data.write_bytes(data.read_bytes()[:-1])
        case "rows longer":
            data.write_bytes(data.read_bytes() + b"x")
        case "rows gone":
            data.unlink()
        case "index cut":
            index.write_bytes(index.read_bytes()[:-5])
        case "index empty":
            index.write_bytes(b"")
        case "index foreign":
            index.write_bytes(b"x" * index.stat().st_size)
    with open_store(cache) as store:
        assert store.missing(contents(0, 1, 2)) == contents(0, 1)
        assert not index.exists()
        assert not data.exists()
        store.append(contents(0, 1), [rows(0, 1)])
        np.testing.assert_array_equal(store.read(contents(0, 1, 2)), rows(0, 1, 2))


def test_a_full_disk_is_the_machines_failure_and_leaves_no_part(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_store(cache) as store:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(MachineFailed, match="full"):
            store.append(contents(0), [rows(0)])
        assert files(store, "*.rows") == files(store, ".*.part") == []


WRITER = """
import sys, hashlib
import numpy as np
from pathlib import Path
from sortal.data.store import Cache, RowStore
numbers = [int(word) for word in sys.argv[2:]]
with RowStore(Cache(Path(sys.argv[1])), "pixels", "key", (3,), np.int32) as store:
    for number in numbers:
        name = hashlib.sha256(str(number).encode()).hexdigest()
        store.append([name], [np.array([[number, number + 1, number + 2]], np.int32)])
"""


def test_two_processes_add_at_once(cache: Cache) -> None:
    parts = [[str(number) for number in range(start, start + 30)] for start in (0, 20)]
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, str(cache.root), *part]) for part in parts]
    assert [process.wait(60) for process in processes] == [0, 0]
    with open_store(cache) as store:
        np.testing.assert_array_equal(store.read(contents(*range(50))), rows(*range(50)))


def test_many_threads_read_at_once(cache: Cache) -> None:
    wrong = []
    with open_store(cache) as store:
        for number in range(20):
            store.append(contents(number), [rows(number)])

        def read(start: int) -> None:
            numbers = [*range(start, 20), *range(start)]
            if not (store.read(contents(*numbers)) == rows(*numbers)).all():
                wrong.append(start)

        threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def fill(cache: Cache, key: str, last_used: float, *, numbers: int = 100) -> Path:
    with open_store(cache, key) as store:
        store.append(contents(*range(numbers)), [rows(*range(numbers))])
    os.utime(store.path / "store.json", (last_used, last_used))
    return store.path


def test_stores_are_listed_with_the_last_used_first(cache: Cache) -> None:
    fill(cache, "old", 1000)
    path = fill(cache, "new", 2000)
    newest = cache.list_stores()[0]
    assert (newest.kind, newest.key, newest.rows, newest.last_used, newest.path) == ("pixels", "new", 100, 2000, path)
    assert newest.bytes > 100 * 12
    assert [info.key for info in cache.list_stores()] == ["new", "old"]


def test_opening_a_store_is_using_it(cache: Cache) -> None:
    fill(cache, "old", 1000)
    fill(cache, "new", 2000)
    open_store(cache, "old").close()
    assert [info.key for info in cache.list_stores()] == ["old", "new"]


def test_room_is_made_by_removing_the_least_recently_used(tmp_path: Path) -> None:
    unlimited = Cache(tmp_path, 1 << 30)
    old, middle, new = (fill(unlimited, key, used) for key, used in (("old", 1000), ("middle", 2000), ("new", 3000)))
    size = unlimited.list_stores()[0].bytes
    cache = Cache(tmp_path, 3 * size + size // 2)
    assert cache.make_room(size // 4)
    assert old.exists()
    assert cache.make_room(size)
    assert (old.exists(), middle.exists(), new.exists()) == (False, True, True)


def test_a_store_in_use_is_never_removed_here_nor_by_another_process(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 5000)
    with open_store(cache, "mine") as store:
        store.append(contents(0), [rows(0)])
        assert not cache.make_room(4990)
        assert cache.clear() == 0
        code = (
            "import sys; from pathlib import Path; from sortal.data.store import Cache; print(Cache(Path(sys.argv[1])).clear())"
        )
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True, text=True)
        assert other.stdout == "0\n"
        np.testing.assert_array_equal(store.read(contents(0)), rows(0))
    assert cache.make_room(4990)
    assert cache.list_stores() == []


def test_what_can_never_fit_removes_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 5000)
    fill(cache, "kept", 1000)
    assert not cache.make_room(5001)
    assert len(cache.list_stores()) == 1


def test_what_fits_once_all_else_is_gone_is_allowed_and_removes_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 5000)
    with open_store(cache) as store:
        store.append(contents(0), [rows(0)])
    assert cache.allows(5000)
    assert not cache.allows(5001)
    assert len(cache.list_stores()) == 1


def test_nothing_always_fits(tmp_path: Path) -> None:
    fill(Cache(tmp_path), "large", 1000)
    assert Cache(tmp_path, 1).make_room(0)
    assert len(Cache(tmp_path).list_stores()) == 1


def test_no_limit_is_a_tenth_of_the_free_disk(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "not there yet")
    free = shutil.disk_usage(tmp_path).free
    assert cache.make_room(free // 20)
    assert not cache.make_room(free // 5)


def test_clearing_frees_what_was_taken_and_keeps_the_facts(cache: Cache) -> None:
    fill(cache, "one", 1000)
    cache.facts.write_bytes(b"facts")
    taken = sum(info.bytes for info in cache.list_stores())
    assert cache.clear() == taken > 0
    assert cache.list_stores() == []
    assert cache.facts.exists()


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SORTAL_CACHE", str(tmp_path / "here"))
    assert Cache.default(7) == Cache(tmp_path / "here", 7)
    monkeypatch.delenv("SORTAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.default().root.name == "sortal"


def test_a_cache_that_cannot_be_made_is_the_users_mistake_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError) as caught:
        open_store(Cache(tmp_path / "file"))
    assert "SORTAL_CACHE" in caught.value.hint


def test_a_store_that_vanished_while_in_use_is_the_machines_failure(cache: Cache) -> None:
    with open_store(cache) as store:
        store.append(contents(0), [rows(0)])
        files(store, "*.rows")[0].unlink()
        with pytest.raises(MachineFailed, match="removed while it was in use"):
            store.read(contents(0))
