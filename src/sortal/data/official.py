"""The official files of the standard data sets: names, addresses and published checksums; and telling one from another.

MD5 is what their publishers give. It names files and finds damage; it is no defence against someone who forges them.
"""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sortal.errors import DataError
from sortal.events import Note, Observer


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """One file as its publisher gives it out."""

    name: str
    md5: str
    urls: tuple[str, ...]
    """Where it can be had, tried in order."""


def _idx_files(mirrors: tuple[str, ...], sums: Mapping[str, str]) -> tuple[OfficialFile, ...]:
    return tuple(OfficialFile(name, md5, tuple(mirror + name for mirror in mirrors)) for name, md5 in sums.items())


# Addresses and sums of MNIST and Fashion-MNIST: torchvision 0.26, datasets/mnist.py. Of the binary versions of CIFAR, which
# torchvision does not read: https://www.cs.toronto.edu/~kriz/cifar.html, which gives the sums in its table.
DOWNLOADS: dict[str, tuple[OfficialFile, ...]] = {
    "mnist": _idx_files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": _idx_files(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar-10": (
        OfficialFile(
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        ),
    ),
    "cifar-100": (
        OfficialFile(
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        ),
    ),
}

CONTENTS: dict[str, tuple[str, str]] = {
    # Archives of CIFAR and the files in the Python versions: torchvision 0.26, datasets/cifar.py.
    "c32a1d4ab5d03f1284b67883e8d87530": ("CIFAR-10", "cifar-10-binary.tar.gz"),
    "c58f30108f718f92721af3b95e74349a": ("CIFAR-10", "cifar-10-python.tar.gz"),
    "03b5dce01913d631647c71ecec9e9cb8": ("CIFAR-100", "cifar-100-binary.tar.gz"),
    "eb9058c3a382ffc7106e4002c42a8d85": ("CIFAR-100", "cifar-100-python.tar.gz"),
    "c99cafc152244af753f735de768cd75f": ("CIFAR-10", "data_batch_1"),
    "d4bba439e000b95fd0a9bffe97cbabec": ("CIFAR-10", "data_batch_2"),
    "54ebc095f3ab1f0389bbae665268c751": ("CIFAR-10", "data_batch_3"),
    "634d18415352ddfa80567beed471001a": ("CIFAR-10", "data_batch_4"),
    "482c414d41f54cd18b22e5b47cb7c3cb": ("CIFAR-10", "data_batch_5"),
    "40351d587109b95175f43aff81a1287e": ("CIFAR-10", "test_batch"),
    "16019d7e3df5f24257cddd939b257f8d": ("CIFAR-100", "train"),
    "f0ef6b0ae62326f3e7ffdfab6717acfc": ("CIFAR-100", "test"),
    # IDX files unpacked, since whoever packs them anew, as Debian does, makes another file. Of MNIST: as many projects check
    # them; of Fashion-MNIST: measured on Debian's package.
    "6bbc9ace898e44ae57da46a324031adb": ("MNIST", "train-images-idx3-ubyte"),
    "a25bea736e30d166cdddb491f175f624": ("MNIST", "train-labels-idx1-ubyte"),
    "2646ac647ad5339dbf082846283269ea": ("MNIST", "t10k-images-idx3-ubyte"),
    "27ae3e4e09519cfbb04c329615203637": ("MNIST", "t10k-labels-idx1-ubyte"),
    "f4a8712d7a061bf5bd6d2ca38dc4d50a": ("Fashion-MNIST", "train-images-idx3-ubyte"),
    "9018921c3c673c538a1fc5bad174d6f9": ("Fashion-MNIST", "train-labels-idx1-ubyte"),
    "8181f5470baa50b63fa0f6fddb340f0a": ("Fashion-MNIST", "t10k-images-idx3-ubyte"),
    "15d484375f8d13e6eb1aabb0c3f46965": ("Fashion-MNIST", "t10k-labels-idx1-ubyte"),
}
"""MD5 of a file to the data set and the name that it is published under."""


def check_content(where: Path | str, md5: str, title: str, name: str, observe: Observer) -> None:
    """Refuse a file whose content is known to be another's; say so where it is nobody's that is known.

    `where` is the file, `title` and `name` what it should be. A file of our kind that is not the published one may be
    damaged or someone's variant: its numbers are checked elsewhere, its bits cannot be.
    """
    found = CONTENTS.get(md5)
    if found == (title, name):
        return
    if found is not None:
        raise DataError(
            f"{where} is {found[1]} of {found[0]}, not {name} of {title}",
            hint="files changed places or names; fetch them again, or name the right folder",
        )
    if (title, name) in CONTENTS.values():
        observe(Note(f"{where} is not the published {name} of {title} (its MD5 is {md5})", "warning"))


def check_archive(path: Path, title: str, name: str, observe: Observer) -> None:
    """As `check_content`; one that nobody published is read through, for the checksum that gzip keeps at its end.

    `tarfile` stops at the last member and never sees it.
    """
    md5 = md5_of(path)
    check_content(path, md5, title, name, observe)
    if md5 in CONTENTS:
        return
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as content:
                while packed and content.read(1 << 20):
                    pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short: {error}", hint="fetch it again from where it is published") from error


def md5_of(path: Path) -> str:
    """Of a file, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
