"""What is remembered about images and data sets, in one SQLite file of the cache: facts by content, and splits once assigned.

A second scan of the same bytes decodes nothing. Two processes may write at once. A damaged file is set aside and begun anew.
"""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import PIL

from sortal.data.looks import LENGTH, Looks
from sortal.errors import DataError, MachineFailed
from sortal.events import Note, Observer, ignore

# Facts of another version of our decoder, or of Pillow's, are not believed: it may read what this one cannot.
VERSION = f"7/{PIL.__version__}"
WAIT = 60.0  # seconds for another process that is writing
BUFFERED = 512

TABLES = """
CREATE TABLE IF NOT EXISTS opened (
    content BLOB NOT NULL, version TEXT NOT NULL,
    width INTEGER, height INTEGER, phash INTEGER, grey INTEGER, note TEXT NOT NULL, problem TEXT NOT NULL,
    PRIMARY KEY (content, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looks (
    content BLOB NOT NULL, version TEXT NOT NULL,
    numbers BLOB NOT NULL, pixels BLOB NOT NULL, bytes INTEGER NOT NULL, made TEXT NOT NULL,
    PRIMARY KEY (content, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sets (id INTEGER PRIMARY KEY, root TEXT NOT NULL, what TEXT NOT NULL, UNIQUE (root, what));
CREATE TABLE IF NOT EXISTS assigned (
    set_id INTEGER NOT NULL, content BLOB NOT NULL, side TEXT NOT NULL, PRIMARY KEY (set_id, content)
) WITHOUT ROWID;
"""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What opening one image told: size in pixels as a person sees it, perceptual hash, whether it is grey, a note, and why it
    is unreadable.
    """

    width: int | None
    height: int | None
    phash: int | None
    grey: bool | None
    """Whether red, green and blue are equal everywhere."""
    note: str = ""
    problem: str = ""
    """'' for an image that can be read; else size and hash are None."""


class Facts:
    """The file of facts. Safe from many threads; use it in a `with`, or `close` it, so that the last facts are written."""

    def __init__(self, path: Path, observe: Observer = ignore) -> None:
        self._path = path
        self._observe = observe
        self._lock = threading.RLock()
        self._unwritten: dict[bytes, ImageFacts] = {}
        self._unwritten_looks: dict[bytes, Looks] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error
        self._connection: sqlite3.Connection | None = None
        self._guarded(lambda connection: None)

    def __enter__(self) -> "Facts":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def get(self, contents: Sequence[str]) -> list[ImageFacts | None]:
        """What is known about each of the images with these SHA-256 (hexadecimal); None for one that was never opened."""
        keys = [bytes.fromhex(content) for content in contents]
        known: dict[bytes, ImageFacts] = {}
        with self._lock:
            for part in _parts(keys):
                query = (
                    "SELECT content, width, height, phash, grey, note, problem FROM opened "
                    f"WHERE version = ? AND content IN ({', '.join('?' * len(part))})"
                )
                rows = self._guarded(lambda connection, q=query, p=part: connection.execute(q, (VERSION, *p)).fetchall())  # type: ignore[misc]
                for key, width, height, phash, grey, note, problem in rows:
                    known[key] = ImageFacts(
                        width,
                        height,
                        None if phash is None else phash % 2**64,
                        None if grey is None else bool(grey),
                        note,
                        problem,
                    )
            known |= {key: self._unwritten[key] for key in keys if key in self._unwritten}
        return [known.get(key) for key in keys]

    def looks(self, contents: Sequence[str]) -> list[Looks | None]:
        """What each of the images looks like; None for one that was never decoded."""
        self.flush()
        keys = [bytes.fromhex(content) for content in contents]
        known: dict[bytes, Looks] = {}
        with self._lock:
            for part in _parts(keys):
                marks = ", ".join("?" * len(part))
                query = f"SELECT content, numbers, pixels, bytes, made FROM looks WHERE version = ? AND content IN ({marks})"
                rows = self._guarded(lambda connection, q=query, p=part: connection.execute(q, (VERSION, *p)).fetchall())  # type: ignore[misc]
                for key, numbers, pixels, size, made in rows:
                    if len(numbers) == LENGTH * 4:
                        known[key] = Looks(np.frombuffer(numbers, np.float32), pixels, size, _parsed(made))
        return [known.get(key) for key in keys]

    def put(self, content: str, facts: ImageFacts, looks: Looks | None = None) -> None:
        """Remember; written in bundles, the last with `flush`."""
        with self._lock:
            self._unwritten[bytes.fromhex(content)] = facts
            if looks is not None:
                self._unwritten_looks[bytes.fromhex(content)] = looks
            if len(self._unwritten) >= BUFFERED:
                self.flush()

    def flush(self) -> None:
        """Write what is not yet written."""
        with self._lock:
            if not self._unwritten:
                return
            rows: list[tuple[object, ...]] = [
                (key, VERSION, fact.width, fact.height, _signed(fact.phash), fact.grey, fact.note, fact.problem)
                for key, fact in self._unwritten.items()
            ]
            statement = "INSERT OR REPLACE INTO opened VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            of_looks: list[tuple[object, ...]] = [
                (key, VERSION, look.numbers.tobytes(), look.pixels, look.bytes, json.dumps(look.made))
                for key, look in self._unwritten_looks.items()
            ]
            and_looks = "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?)"
            # Looks first: an image whose facts are there is never decoded again for them.
            self._guarded(lambda connection: _write(connection, and_looks, of_looks))
            self._guarded(lambda connection: _write(connection, statement, rows))
            self._unwritten.clear()
            self._unwritten_looks.clear()

    def assigned(self, root: str, what: str) -> dict[str, str]:
        """Content to side, as `remember_assigned` was told for this data set; `what` names shares or folds, and the seed."""
        query = "SELECT content, side FROM assigned WHERE set_id = (SELECT id FROM sets WHERE root = ? AND what = ?)"
        with self._lock:
            rows = self._guarded(lambda connection: connection.execute(query, (root, what)).fetchall())
        return {content.hex(): side for content, side in rows}

    def remember_assigned(self, root: str, what: str, sides: Mapping[str, str]) -> None:
        """Remember on which side each content stands; what was remembered before and is not named stays."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.execute("INSERT OR IGNORE INTO sets (root, what) VALUES (?, ?)", (root, what))
                (number,) = connection.execute("SELECT id FROM sets WHERE root = ? AND what = ?", (root, what)).fetchone()
                connection.executemany(
                    "INSERT OR REPLACE INTO assigned VALUES (?, ?, ?)",
                    ((number, bytes.fromhex(content), side) for content, side in sides.items()),
                )

        with self._lock:
            self._guarded(write)

    def close(self) -> None:
        """Write the last facts and let go of the file."""
        with self._lock:
            if self._connection is not None:
                self.flush()
                self._connection.close()
                self._connection = None

    def _guarded(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do `work`; on damage set the file aside, say so, and do it once more with a new one."""
        try:
            return work(self._open())
        except sqlite3.DatabaseError as error:
            if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise _machine_or_user(self._path, error) from error
        self._set_aside()
        try:
            return work(self._open())
        except sqlite3.DatabaseError as error:
            raise _machine_or_user(self._path, error) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # Autocommit; transactions are begun by name, immediately, so that two writers wait for each other, not fail.
            connection = sqlite3.connect(self._path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(TABLES)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _set_aside(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if _sound(self._path):  # another process found the damage first and has begun a new file
            return
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        with contextlib.suppress(FileNotFoundError):
            os.replace(self._path, aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        text = f"the file of remembered facts was damaged: it is now {aside}, a new one was begun, images are opened again"
        self._observe(Note(text, "warning"))


@lru_cache(maxsize=4096)
def _parsed(made: str) -> dict[str, Any]:
    """Files of one source say the same of themselves, so most share one dict."""
    found: dict[str, Any] = json.loads(made)
    return found


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """As many as one question may name."""
    return (keys[start : start + BUFFERED] for start in range(0, len(keys), BUFFERED))


def _write(connection: sqlite3.Connection, statement: str, rows: list[tuple[object, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.executemany(statement, rows)


def _signed(phash: int | None) -> int | None:
    """SQLite's whole numbers have a sign."""
    return phash if phash is None or phash < 2**63 else phash - 2**64


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _sound(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=WAIT)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _machine_or_user(path: Path, error: sqlite3.Error) -> Exception:
    if _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return MachineFailed(f"the disk that holds {path} is full or failing: {error}", hint="free some room and try again")
    return _unusable(path, error)


def _unusable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"the cache {path.parent} cannot be used: {error}", hint="set SORTAL_CACHE to a folder that you may write to"
    )
