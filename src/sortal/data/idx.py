"""IDX, the format of MNIST and its kin: a magic number, sizes, then bytes. Read strictly; misfits are named."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError

IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801  # unsigned bytes in three dimensions, in one
KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")
"""How the files of images and of labels are called, after the name of the split."""
CURE = "fetch the file again from where the data set is published; the four files must keep their names"


def read_images(path: Path, *, count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Images of shape (count, height, width) from an IDX file, gzip or plain; raises `DataError` for any other."""
    return _read(path, IMAGES_MAGIC, (count, height, width)).reshape(count, height, width)


def read_labels(path: Path, *, count: int, classes: int) -> NDArray[np.uint8]:
    """Labels in 0..classes - 1, shape (count,), from an IDX file, gzip or plain; raises `DataError` for any other."""
    labels_N = _read(path, LABELS_MAGIC, (count,))
    if labels_N.size and int(labels_N.max()) >= classes:
        row = int(np.argmax(labels_N >= classes))
        raise DataError(f"{path}: label {labels_N[row]} of image {row} is not in 0..{classes - 1}", hint=CURE)
    return labels_N


def find(folder: Path, stem: str) -> Path:
    """The file `stem` in a folder, plain or with .gz; raises `DataError` naming what was looked for."""
    for candidate in _candidates(folder, stem):
        if candidate.is_file():
            return candidate
    raise DataError(f"there is no {stem} or {stem}.gz in {folder}", hint="name the folder that holds the four IDX files")


def is_in(folder: Path, stem: str) -> bool:
    """Whether the file `stem` is in a folder, plain or with .gz."""
    return any(candidate.is_file() for candidate in _candidates(folder, stem))


def md5(values: NDArray[np.uint8]) -> str:
    """MD5 of the plain IDX file that holds images of shape (N, H, W) or labels of shape (N,)."""
    magic = IMAGES_MAGIC if values.ndim == 3 else LABELS_MAGIC
    digest = hashlib.md5(_header(magic, values.shape), usedforsecurity=False)
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _candidates(folder: Path, stem: str) -> tuple[Path, Path]:
    return folder / stem, folder / f"{stem}.gz"


def _header(magic: int, shape: tuple[int, ...]) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic, *shape)


def _read(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The bytes after the header, checked against the shape that they must have; never more than these are unpacked."""
    header = _header(magic, shape)
    wanted = int(np.prod(shape))
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if packed else file as content:
                _check_header(path, content.read(len(header)), header)
                data = content.read(wanted + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short: {error}", hint=CURE) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}", hint="check its permissions and the disk"
        ) from error
    if len(data) != wanted:
        what = "more than" if len(data) > wanted else f"only {len(data):,} of"
        raise DataError(f"{path} holds {what} the {wanted:,} bytes that its header announces", hint=CURE)
    return np.frombuffer(data, np.uint8)


def _check_header(path: Path, found: bytes, wanted: bytes) -> None:
    if found == wanted:
        return
    (magic,) = struct.unpack(">I", wanted[:4])
    if len(found) < 4 or found[:4] != wanted[:4]:
        other = KINDS.get(int.from_bytes(found[:4], "big"))
        what = (
            f"holds {other}, not {KINDS[magic]}"
            if other
            else f"is not an IDX file of {KINDS[magic]} (it begins with {found[:4].hex() or 'nothing'})"
        )
        raise DataError(f"{path} {what}", hint=CURE)
    if len(found) < len(wanted):
        raise DataError(f"{path} is cut short inside its header", hint=CURE)
    shapes = [" x ".join(f"{size:,}" for size in struct.unpack(f">{len(raw) // 4 - 1}I", raw[4:])) for raw in (found, wanted)]
    raise DataError(f"{path} announces {shapes[0]} {KINDS[magic]}, expected {shapes[1]}", hint=CURE)
