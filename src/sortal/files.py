"""Writing files so that a kill, a full disk or a power cut leaves the old file or the new one, never half of either."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sortal.errors import MachineFailed

OUT_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RESUME = "free some room, then run the same command with --resume; what was finished is kept"
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What a file system says that knows no second names."""
UNFINISHED = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.part")
"""Names of ours for what is being written; a user's own `.notes.part` is none."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name in `path`'s folder; on a clean exit flush it to the disk and rename it to `path`.

    On any error the temporary file goes and what stood at `path` stays. A full disk becomes `MachineFailed`.
    """
    path = Path(path)
    with full_disk_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = unfinished_name(path)
        try:
            yield part
            sync(part)
            os.replace(part, path)
            sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def creating(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file that must be new: raises `FileExistsError` where `path` is taken by then, and leaves it."""
    path = Path(path)
    with full_disk_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = unfinished_name(path)
        try:
            yield part
            sync(part)
            _named(part, path)
            sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _named(part: Path, path: Path) -> None:
    """Give a file a second name, unless something has that name."""
    try:
        os.link(part, path)  # a rename would take the place of whatever came there meanwhile
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.rename(part, path)


def append(path: Path, data: bytes, *, hint: str) -> None:
    """Add `data` to the end of a file, which is made if need be, and have the disk hold it before this returns.

    On any error the file is as long as it was. What the system refuses becomes `MachineFailed` with this `hint`.
    """
    new = not path.exists()
    try:
        with full_disk_explained(path, hint=hint), path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                _write_all(file, data)
                os.fsync(file.fileno())
            except BaseException:
                os.ftruncate(file.fileno(), before)
                raise
            if new:
                sync(path.parent)
    except MachineFailed:
        raise
    except OSError as error:
        raise MachineFailed(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:  # a disk that is nearly full takes a part, and refuses only the next
        view = view[file.write(view) :]


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def unfinished_name(path: Path) -> Path:
    """A name beside `path` that nobody else writes to, and that `remove_unfinished` knows."""
    # Of our own rather than mkstemp's, so that the file gets the user's usual permissions.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written under `folder`; only for whoever keeps all others from writing there."""
    for part in sorted(folder.rglob(".*.part")):
        if not UNFINISHED.fullmatch(part.name):
            continue
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)  # it may have gone with its folder


def stands_at(path: Path, file: IO[bytes]) -> bool:
    """Whether `path` still leads to this open file: a lock on a file that was removed meanwhile keeps nobody out."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def full_disk_explained(place: Path, *, hint: str = RESUME) -> Iterator[None]:
    """Turn 'no space left' into an error that names the place and the cure; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in OUT_OF_ROOM and not isinstance(error, MachineFailed):
            raise MachineFailed(f"the disk that holds {place} is full", hint=hint) from error
        raise
