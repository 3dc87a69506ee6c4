"""Stores: arrays computed once and kept on the disk, one row an image, found again by the SHA-256 of the image's bytes.

A store is a folder of segments that never change. A segment is two files: `N.rows`, the rows one after another, and `N.index`,
a header and the content hash of each row. Both are written aside and renamed, the index last: a segment whose index exists is
whole. Several processes may add at once; a row that is there twice does no harm.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sortal.errors import DataError, MachineFailed
from sortal.files import full_disk_explained, replacing, stands_at, write_bytes, write_text

FORMAT = 1
HEADER = b"sortal store %03d\n" % FORMAT
SEGMENT_BYTES = 64 << 20  # after so many, rows are finished and safe from whatever happens to the next
READ_BYTES = 4 << 20  # at most so many are held twice while rows are read
FREE_SHARE = 10  # stores may take a tenth of the free disk
HASH = np.dtype("S32")


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """One store on the disk, for people."""

    kind: str
    key: str
    rows: int
    bytes: int
    last_used: float
    """Seconds since 1970."""
    path: Path


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder of everything that can be computed again: stores, and the file of facts."""

    root: Path
    limit: int = 0
    """Bytes that all stores together may take; 0 is a tenth of the free disk."""

    @classmethod
    def default(cls, limit: int = 0) -> "Cache":
        """`$SORTAL_CACHE`, or the platform's cache folder."""
        named = os.environ.get("SORTAL_CACHE")
        if named:
            return cls(Path(named).expanduser().absolute(), limit)
        from platformdirs import user_cache_dir

        return cls(Path(user_cache_dir("sortal")), limit)

    @property
    def facts(self) -> Path:
        """Where `Facts` are."""
        return self.root / "facts.sqlite"

    @property
    def stores(self) -> Path:
        return self.root / "stores"

    def list_stores(self) -> list[StoreInfo]:
        """All stores, the last used first."""
        found = [info for path in self.stores.glob("*/*/store.json") if (info := _info(path.parent)) is not None]
        return sorted(found, key=lambda info: -info.last_used)

    def clear(self) -> int:
        """Remove every store that no process uses; returns the bytes freed. Facts and remembered splits stay."""
        return sum(info.bytes for info in self.list_stores() if _remove(info.path))

    def allows(self, wanted: int) -> bool:
        """Whether so many bytes fit under the limit at all, if all that is not in use had to go."""
        return wanted <= (self.limit or self._tenth(sum(info.bytes for info in self.list_stores())))

    def make_room(self, wanted: int) -> bool:
        """Whether `wanted` more bytes fit under the limit, after removing what was used least recently and by nobody now."""
        if not wanted:
            return True
        stores = self.list_stores()
        taken = sum(info.bytes for info in stores)
        limit = self.limit or self._tenth(taken)
        if wanted > limit:
            return False
        for info in reversed(stores):
            if taken + wanted <= limit:
                break
            if _remove(info.path):
                taken -= info.bytes
        return taken + wanted <= limit

    def _tenth(self, taken: int) -> int:
        """Of the disk as it would be without our stores, so that they do not shrink their own allowance."""
        place = self.root
        while not place.exists():
            place = place.parent
        return (shutil.disk_usage(place).free + taken) // FREE_SHARE


class RowStore:
    """Rows of one shape and type, by content. Hold it open while you use it: an open store is never removed."""

    def __init__(self, cache: Cache, kind: str, key: str, row_shape: Sequence[int], dtype: DTypeLike) -> None:
        """Open or make the store `key` of `kind` ('pixels', 'features'); equal keys promise equal rows for equal contents."""
        self.row_shape = tuple(int(length) for length in row_shape)
        self.dtype = np.dtype(dtype)
        about = {"kind": kind, "key": key, "row_shape": list(self.row_shape), "dtype": self.dtype.str, "format": FORMAT}
        text = json.dumps(about)
        self.path = cache.stores / kind / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._segments: dict[str, Path] = {}  # name -> its rows
        self._hashes_M: NDArray[np.bytes_] = np.empty(0, HASH)
        self._segment_of_M: NDArray[np.int64] = np.empty(0, np.int64)
        self._row_of_M: NDArray[np.int64] = np.empty(0, np.int64)
        self._order_M: NDArray[np.int64] = np.empty(0, np.int64)
        with _cache_usable(cache.root):
            self._lock = _open_shared(self.path, text, self.row_bytes)
            self._refresh()

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize

    def __enter__(self) -> "RowStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go; the store may then be removed to make room."""
        self._lock.close()

    def missing(self, contents: Sequence[str]) -> list[str]:
        """Those of the contents that have no row yet, each once, in their order; what other processes added counts."""
        self._refresh()
        there_N = self.locate(contents) >= 0
        return list(dict.fromkeys(content for content, there in zip(contents, there_N, strict=True) if not there))

    def locate(self, contents: Sequence[str]) -> NDArray[np.int64]:
        """A place for each content, shape (N,), to be given to `take`; -1 where there is no row. Places stay valid."""
        wanted_N = _hashes(contents)
        if not len(self._hashes_M):
            return np.full(len(wanted_N), -1, np.int64)
        found_N = np.searchsorted(self._hashes_M, wanted_N, sorter=self._order_M).clip(max=len(self._order_M) - 1)
        place_N = self._order_M[found_N]
        return np.where(self._hashes_M[place_N] == wanted_N, place_N, -1)

    def take(self, places_B: NDArray[np.int64]) -> NDArray[Any]:
        """The rows at some places, shape (B, *row_shape).

        Read, not mapped: the system's page cache holds them either way, but mapped pages would count as memory of this process.
        """
        rows = np.empty((len(places_B), *self.row_shape), self.dtype)
        if not len(places_B):
            return rows
        assert places_B.min() >= 0, "a row that is not in the store"
        bytes_BX = rows.view(np.uint8).reshape(len(places_B), self.row_bytes)
        order_B = np.argsort(places_B, kind="stable")
        sorted_B = places_B[order_B]
        segment_B = self._segment_of_M[sorted_B]
        segments = list(self._segments.values())
        # Neighbours in a segment are read at once.
        longest = max(1, READ_BYTES // max(1, self.row_bytes))
        new_run_B = (np.diff(sorted_B, prepend=sorted_B[0] - 2) != 1) | (np.diff(segment_B, prepend=-1) != 0)
        starts = np.flatnonzero(new_run_B).tolist()
        runs = zip(starts, [*starts[1:], len(sorted_B)], strict=True)
        for segment, inside in groupby(runs, lambda run: int(segment_B[run[0]])):
            with _open_rows(segments[segment]) as file:
                for start, stop in inside:
                    for low in range(start, stop, longest):
                        high = min(stop, low + longest)
                        row = int(self._row_of_M[sorted_B[low]])
                        bytes_BX[order_B[low:high]] = _read_rows(file, row, high - low, self.row_bytes)
        return rows

    def take_parts(self, places_B: NDArray[np.int64], part_B: NDArray[np.int64]) -> NDArray[Any]:
        """Of each row at some places one entry of its first axis, shape (B, *row_shape[1:]); the rest is not read."""
        parts = np.empty((len(places_B), *self.row_shape[1:]), self.dtype)
        if not len(places_B):
            return parts
        assert places_B.min() >= 0, "a row that is not in the store"
        size = self.row_bytes // self.row_shape[0]
        bytes_BX = parts.view(np.uint8).reshape(len(places_B), size)
        segments = list(self._segments.values())
        for segment in np.unique(self._segment_of_M[places_B]):
            with _open_rows(segments[segment]) as file:
                for number in np.flatnonzero(self._segment_of_M[places_B] == segment):
                    part = int(self._row_of_M[places_B[number]]) * self.row_shape[0] + int(part_B[number])
                    bytes_BX[number] = _read_rows(file, part, 1, size)[0]
        return parts

    def read(self, contents: Sequence[str]) -> NDArray[Any]:
        """The rows of some contents, shape (N, *row_shape); raises `KeyError` for one that is not there."""
        places_N = self.locate(contents)
        if (places_N < 0).any():
            raise KeyError(contents[int(np.argmin(places_N))])
        return self.take(places_N)

    def append(self, contents: Sequence[str], arrays: Iterable[NDArray[Any]]) -> None:
        """Add a row for each content from arrays of shape (any number, *row_shape), which are written as they come.

        Every `SEGMENT_BYTES` what was written is finished; an error of `arrays` loses only what came after.

        Raises:
            MachineFailed: where the disk is full; the unfinished part is removed.
        """
        feed = _Feed(self._checked(arrays))
        rows = max(1, SEGMENT_BYTES // max(1, self.row_bytes))
        for low in range(0, len(contents), rows):
            self._write_segment(contents[low : low + rows], feed)
        assert feed.exhausted(), "more rows than contents"
        self._refresh()

    def _write_segment(self, contents: Sequence[str], feed: "_Feed") -> None:
        name = secrets.token_hex(8)
        with full_disk_explained(self.path), replacing(self.path / f"{name}.rows") as part, part.open("wb") as file:
            for piece in feed.take(len(contents)):
                file.write(np.ascontiguousarray(piece).data)
        sizes = np.array([len(contents), self.row_bytes], np.int64)
        write_bytes(self.path / f"{name}.index", HEADER + sizes.tobytes() + _hashes(contents).tobytes())

    def _checked(self, arrays: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for array in arrays:
            assert array.shape[1:] == self.row_shape, f"rows of shape {array.shape[1:]}, not {self.row_shape}"
            assert array.dtype == self.dtype, f"rows of type {array.dtype}, not {self.dtype}"
            yield array

    def _refresh(self) -> None:
        """Take in segments that are new, ours or another process's. Known ones keep their number, so places stay valid."""
        added: list[NDArray[np.bytes_]] = []
        for index in sorted(self.path.glob("*.index")):
            if index.stem in self._segments:
                continue
            hashes_M = _read_index(index, self.row_bytes)
            if hashes_M is None:
                continue
            number = np.full(len(hashes_M), len(self._segments), np.int64)
            self._segment_of_M = np.concatenate([self._segment_of_M, number])
            self._row_of_M = np.concatenate([self._row_of_M, np.arange(len(hashes_M))])
            self._segments[index.stem] = index.with_suffix(".rows")
            added.append(hashes_M)
        if added:
            self._hashes_M = np.concatenate([self._hashes_M, *added])
            self._order_M = np.argsort(self._hashes_M, kind="stable")


class _Feed:
    """Arrays of rows as they come, taken by number of rows."""

    def __init__(self, arrays: Iterator[NDArray[Any]]) -> None:
        self._arrays = arrays
        self._rest: NDArray[Any] | None = None

    def take(self, count: int) -> Iterator[NDArray[Any]]:
        """The next `count` rows, in pieces."""
        while count:
            if self._rest is None or not len(self._rest):
                self._rest = next(self._arrays, None)
                assert self._rest is not None, "fewer rows than contents"
                continue
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            yield piece

    def exhausted(self) -> bool:
        return (self._rest is None or not len(self._rest)) and not any(len(array) for array in self._arrays)


def _hashes(contents: Sequence[str]) -> NDArray[np.bytes_]:
    """Content hashes as 32 bytes each. Two that differ compare as different, although numpy drops zeros at the end of text."""
    return np.frombuffer(bytes.fromhex("".join(contents)), HASH)


def _read_index(index: Path, row_bytes: int) -> NDArray[np.bytes_] | None:
    """The content hashes of a segment, or None where it is not whole."""
    try:
        data = index.read_bytes()
        size = index.with_suffix(".rows").stat().st_size
    except FileNotFoundError:
        return None
    head = len(HEADER) + 16
    if len(data) < head or not data.startswith(HEADER):
        return None
    count, stated = (int(number) for number in np.frombuffer(data[len(HEADER) : head], np.int64))
    if stated != row_bytes or size != count * row_bytes or len(data) != head + count * HASH.itemsize:
        return None
    return np.frombuffer(data[head:], HASH)


@contextlib.contextmanager
def _open_rows(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb", buffering=0) as file:
            yield file
    except FileNotFoundError as error:
        raise MachineFailed(f"{path} was removed while it was in use", hint="run the same command again") from error


def _read_rows(file: IO[bytes], row: int, count: int, row_bytes: int) -> NDArray[np.uint8]:
    # At a position, so that threads do not move each other's file pointer.
    data = os.pread(file.fileno(), count * row_bytes, row * row_bytes)
    if len(data) != count * row_bytes:
        raise MachineFailed(f"{file.name} was cut short while it was in use", hint="run the same command again")
    return np.frombuffer(data, np.uint8).reshape(count, row_bytes)


def _open_shared(path: Path, about: str, row_bytes: int) -> IO[bytes]:
    """Make the store's folder if need be and hold its lock together with other users; the lock goes with the process."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        try:
            lock = (path / ".lock").open("wb")
        except FileNotFoundError:  # removed by another process in this moment
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clean(path, row_bytes)  # nobody else is here, so what is unfinished was left by a process that died
        except BlockingIOError:
            pass
        fcntl.flock(lock, fcntl.LOCK_SH)
        if stands_at(path / ".lock", lock):
            break
        lock.close()
    if not (path / "store.json").exists():
        write_text(path / "store.json", about)
    os.utime(path / "store.json")  # the time of last use
    return lock


def _clean(path: Path, row_bytes: int) -> None:
    """Remove what is not whole."""
    for index in path.glob("*.index"):
        if _read_index(index, row_bytes) is None:
            index.unlink()
    for rows in path.glob("*.rows"):
        if not rows.with_suffix(".index").exists():
            rows.unlink()
    for part in path.glob(".*.part"):
        part.unlink()


def _remove(path: Path) -> bool:
    """Remove a store, unless a process, this one too, holds it open."""
    try:
        with (path / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
            return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return not path.exists()


def _info(path: Path) -> StoreInfo | None:
    try:
        files = {entry.name: entry.stat() for entry in os.scandir(path)}
        about = json.loads((path / "store.json").read_bytes())
        key = str(about["key"])
    except FileNotFoundError:  # removed by another process in this moment
        return None
    except (ValueError, KeyError, TypeError):
        key = "damaged"
    head = len(HEADER) + 16
    rows = sum(max(0, stat.st_size - head) // HASH.itemsize for name, stat in files.items() if name.endswith(".index"))
    size = sum(stat.st_size for stat in files.values())
    return StoreInfo(path.parent.name, key, rows, size, files["store.json"].st_mtime, path)


@contextlib.contextmanager
def _cache_usable(root: Path) -> Iterator[None]:
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise _unusable(root, error) from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise _unusable(root, error) from error
        raise


def _unusable(root: Path, error: OSError) -> DataError:
    return DataError(f"the cache {root} cannot be used: {error}", hint="set SORTAL_CACHE to a folder that you may write to")
