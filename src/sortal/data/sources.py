"""Where the bytes of images come from: a folder, a zip, a tar, a Parquet file with a column of images.

Every source answers `read(name) -> bytes`, from any thread. Nothing is ever unpacked to the disk: the name of an archive's
member is a key and never a path, so a hostile name leads nowhere, and no member is read beyond `MAX_BYTES`.
"""

import contextlib
import os
import stat
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from lzma import LZMAError
from pathlib import Path
from typing import Any, Protocol

from sortal.data.forwards import Forwards
from sortal.errors import DataError, UnreadableImage

MAX_BYTES = 1 << 29
"""Bytes beyond which one file or member is refused: half a gibibyte holds 100 megapixels of raw 16-bit colour nearly."""
ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
LARGEST_TAR_HEADER = 1 << 20
BAD_STREAM = (zlib.error, LZMAError, EOFError)  # what broken compression raises, besides OSError


class Source(Protocol):
    """Images by name."""

    def names(self) -> Sequence[str]:
        """All keys, in the order in which reading is quickest."""

    def read(self, name: str) -> bytes:
        """The bytes of one image. Safe from any thread; raises `UnreadableImage` with the reason."""

    def close(self) -> None:
        """Let go of open files."""


def open_source(root: Path) -> "Source":
    """The source that a manifest's `root` names; raises `DataError` where there is none."""
    if root.is_dir():
        return FolderSource(root)
    if not root.exists():
        raise DataError(f"{root} does not exist", hint="the images were moved or deleted; name their new place")
    if is_zip(root):
        return ZipSource(root)
    if is_tar(root):
        return TarSource(root)
    return ParquetSource(root)


def is_zip(path: Path) -> bool:
    return path.name.lower().endswith(ZIP_SUFFIXES)


def is_tar(path: Path) -> bool:
    return path.name.lower().endswith(TAR_SUFFIXES)


class FolderSource:
    """Files below a folder; names are relative to it, with forward slashes. A table may also name absolute paths."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """All files, sorted. Linked folders are followed, each real folder once."""
        found: list[str] = []
        seen: set[tuple[int, int]] = set()
        for folder, folders, files in os.walk(self.root, followlinks=True, onerror=_refuse_folder):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            relative = os.path.relpath(folder, self.root)
            prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
            found.extend(prefix + name for name in files)
        return sorted(found)

    def read(self, name: str) -> bytes:
        try:
            # Without O_NONBLOCK a pipe that lies among the images would be waited for for ever.
            handle = os.open(self.root / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with open(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise UnreadableImage("not a file")
                _refuse_huge(status.st_size)
                return file.read()
        except OSError as error:
            raise UnreadableImage(_plain(error)) from error

    def close(self) -> None:
        """Nothing is kept open."""


class ZipSource:
    """Members of a zip, read at random and from many threads."""

    def __init__(self, path: Path) -> None:
        with _archive_explained(path):
            self._zip = zipfile.ZipFile(path)
        self._infos = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}

    def names(self) -> list[str]:
        """Members in the order of their place in the file."""
        return sorted(self._infos, key=lambda name: self._infos[name].header_offset)

    def read(self, name: str) -> bytes:
        info = self._infos.get(name)
        if info is None:
            raise UnreadableImage("no longer in the archive")
        _refuse_huge(info.file_size)
        # `ZipExtFile` never gives more than the size that the header states, however much the data would inflate to.
        with _member_explained(), self._zip.open(info) as file:
            return file.read()

    def close(self) -> None:
        self._zip.close()


class TarSource:
    """Members of a tar. A plain one is read at random; a compressed one forwards, as `Forwards` explains."""

    def __init__(self, path: Path) -> None:
        self._members: dict[str, tuple[int, int, int]] = {}  # name -> number, offset of its data, size
        self._links: dict[str, str] = {}
        self._handle: int | None = None
        with _archive_explained(path):
            self._plain = _is_plain_tar(path)
            for number, member in enumerate(_tar_members(path)):
                if member.islnk():
                    self._links[member.name] = member.linkname
                elif member.isreg() and not member.issparse():
                    self._members[member.name] = (number, member.offset_data, member.size)
                elif not member.isdir():
                    self._links[member.name] = ""
        if self._plain:
            self._handle = os.open(path, os.O_RDONLY)
        else:
            self._forwards = Forwards(lambda start: _tar_stream(path), lambda number: 0)

    def names(self) -> list[str]:
        return [*self._members, *self._links]

    def read(self, name: str) -> bytes:
        name = self._links.get(name, name)
        if name not in self._members:
            raise UnreadableImage("not a file but a link or a device inside the archive")
        number, offset, size = self._members[name]
        _refuse_huge(size)
        if self._handle is None:
            with _member_explained():
                return self._forwards.read(number)
        data = os.pread(self._handle, size, offset)
        if len(data) != size:
            raise UnreadableImage("truncated: the archive ends before the file does")
        return data

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        else:
            self._forwards.close()


class ParquetSource:
    """The `image` column of a Parquet file: encoded bytes, or a struct with `bytes` in it. Names are 'row:N', from 0.

    Rows are read forwards, a page at a time, so memory does not grow with their number. A page is the least that can be read of
    a Parquet file, and most writers put up to 1,024 rows of a row group in one: large photographs want small row groups.
    """

    def __init__(self, path: Path) -> None:
        # Here and not above: predicting reads folders and archives without the second that pyarrow takes to import.
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._damage = (pa.ArrowException, OSError)
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a Parquet file: {error}") from error
        groups = [self._file.metadata.row_group(number) for number in range(self._file.metadata.num_row_groups)]
        self._starts: list[int] = [0, *accumulate(int(group.num_rows) for group in groups)]
        self._row_bytes = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
        self._forwards = Forwards(self._rows_from, self._group_start)

    def names(self) -> list[str]:
        return [f"row:{number}" for number in range(self._starts[-1])]

    def read(self, name: str) -> bytes:
        number = int(name.removeprefix("row:"))
        if not 0 <= number < self._starts[-1]:
            raise UnreadableImage("no longer in the table")
        try:
            return self._forwards.read(number)
        except self._damage as error:
            raise UnreadableImage(f"damaged inside the table ({error})") from error

    def close(self) -> None:
        self._forwards.close()
        self._file.close()

    def _group_start(self, number: int) -> int:
        return self._starts[bisect_right(self._starts, number) - 1]

    def _rows_from(self, start: int) -> Iterator[tuple[int, bytes]]:
        first = self._starts.index(start)
        # About 4 MB of images at a time; a thousand rows of small ones.
        size = max(1, min(1024, (4 << 20) // max(1, self._row_bytes)))
        groups = range(first, len(self._starts) - 1)
        number = start
        for batch in self._file.iter_batches(batch_size=size, row_groups=list(groups), columns=["image"], use_threads=False):
            for value in batch.column(0):
                yield number, _image_bytes(value.as_py())
                number += 1


def _image_bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else b""


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses long-name and pax headers of absurd size, which `tarfile` would else read into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_BoundedTarInfo":
        info = super().frombuf(buf, encoding, errors)
        if not info.isreg() and info.size > LARGEST_TAR_HEADER:
            raise tarfile.ReadError(f"a header of {info.size:,} bytes")
        return info


def _open_tar(path: Path) -> tarfile.TarFile:
    """Forwards only ('r|*'), so that a compressed archive never has to be rewound by `tarfile` itself."""
    return tarfile.open(path, "r:" if _is_plain_tar(path) else "r|*", tarinfo=_BoundedTarInfo)


def _is_plain_tar(path: Path) -> bool:
    """Whether the archive is not compressed, judged by its bytes: names lie."""
    with path.open("rb") as file:
        return file.read(262)[257:262] == b"ustar"


def _tar_members(path: Path) -> Iterator[tarfile.TarInfo]:
    with _open_tar(path) as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else tarfile remembers every member, and a million are felt
            yield member


def _tar_stream(path: Path) -> Iterator[tuple[int, bytes]]:
    """The files of a tar in order: (number among all members, bytes); what is too large to be read is passed over."""
    with _open_tar(path) as tar:
        number = 0
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]
            if member.isreg() and not member.issparse() and member.size <= MAX_BYTES:
                file = tar.extractfile(member)
                assert file is not None
                yield number, file.read()
            number += 1


@contextlib.contextmanager
def _archive_explained(path: Path) -> Iterator[None]:
    """Errors of a whole archive, with its name."""
    try:
        yield
    except PermissionError as error:
        raise DataError(f"no permission to read {path}", hint=f"chmod u+r {path}") from error
    except (zipfile.BadZipFile, tarfile.TarError, OSError, *BAD_STREAM) as error:
        raise DataError(f"{path} is damaged or no archive: {error}", hint="download or pack it again") from error


@contextlib.contextmanager
def _member_explained() -> Iterator[None]:
    """Errors of one member, as its reason."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, OSError, *BAD_STREAM) as error:
        raise UnreadableImage(f"damaged inside the archive ({error})") from error
    except NotImplementedError as error:  # before RuntimeError, of which it is a kind
        raise UnreadableImage(f"compressed in a way that is not read here ({error})") from error
    except RuntimeError as error:  # how zipfile says that a password is needed
        raise UnreadableImage("encrypted inside the archive") from error


def _refuse_huge(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableImage(f"{size:,} bytes are more than the {MAX_BYTES:,} that one image may have")


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"no permission to read the folder {error.filename}", hint=f"chmod u+rx {error.filename}") from error


def _plain(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    return f"cannot be read ({error.strerror or error})"
