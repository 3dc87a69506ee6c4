"""MNIST and Fashion-MNIST: four IDX files each, gzip or plain, in a folder of their own or where torchvision puts them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.data import idx, official, picture_table, png
from sortal.errors import DataError
from sortal.events import Observer, ignore

SIZE = 28
Images = NDArray[np.uint8]
"""Shape (N, 28, 28)."""
Labels = NDArray[np.uint8]
"""Shape (N,)."""
STEMS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, slots=True)
class IdxSet:
    """What the four IDX files of a data set of 28 x 28 grey images must hold."""

    title: str
    folder: str
    """What torchvision calls it below its root: FOLDER/raw/ holds the files."""
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    """Images of each class by split: the cheapest way to tell one data set from another that has the same sizes."""


SETS = {
    "mnist": IdxSet(
        title="MNIST",
        folder="MNIST",
        classes=tuple("0123456789"),
        counts={
            "train": (5_923, 6_742, 5_958, 6_131, 5_842, 5_421, 5_918, 6_265, 5_851, 5_949),
            "test": (980, 1_135, 1_032, 1_010, 982, 892, 958, 1_028, 974, 1_009),
        },
    ),
    "fashion-mnist": IdxSet(
        title="Fashion-MNIST",
        folder="FashionMNIST",
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        counts={"train": (6_000,) * 10, "test": (1_000,) * 10},
    ),
}  # fmt: skip


def pictures(name: str, source: Path, observe: Observer = ignore) -> Iterator[picture_table.Rows]:
    """Rows of 'train', then of 'test', a thousand at a time; raises `DataError` naming the file that does not fit."""
    classes = SETS[name].classes
    for split, images_NHW, labels_N in read(name, source, observe):
        for low in range(0, len(labels_N), picture_table.ROW_GROUP):
            names = [classes[label] for label in labels_N[low : low + picture_table.ROW_GROUP]]
            yield png.encode(images_NHW[low : low + len(names)]), names, [split] * len(names)


def read(name: str, source: Path, observe: Observer = ignore) -> Iterator[tuple[str, Images, Labels]]:
    """'train', then 'test', each with its images and labels; raises `DataError` naming the file that does not fit."""
    wanted = SETS[name]
    folder = _folder(source, wanted)
    for split, stem in STEMS.items():
        yield split, *_read_split(folder, stem, wanted, split, observe)


def _folder(source: Path, wanted: IdxSet) -> Path:
    """The folder that holds the files: `source`, or what torchvision made below it."""
    if not source.is_dir():
        what = f"{source} is no folder" if source.exists() else f"there is no folder {source}"
        raise DataError(what, hint=f"name the folder that holds the four files of {wanted.title}")
    for folder in (source, source / "raw", source / wanted.folder / "raw"):
        if any(idx.is_in(folder, f"{stem}-{kind}") for stem in STEMS.values() for kind in idx.FILES):
            return folder
    return source


def _read_split(folder: Path, stem: str, wanted: IdxSet, split: str, observe: Observer) -> tuple[Images, Labels]:
    counts_K = wanted.counts[split]
    images, labels = (f"{stem}-{kind}" for kind in idx.FILES)
    images_path, labels_path = idx.find(folder, images), idx.find(folder, labels)
    images_NHW = idx.read_images(images_path, count=sum(counts_K), height=SIZE, width=SIZE)
    official.check_content(images_path, idx.md5(images_NHW), wanted.title, images, observe)
    labels_N = idx.read_labels(labels_path, count=sum(counts_K), classes=len(wanted.classes))
    official.check_content(labels_path, idx.md5(labels_N), wanted.title, labels, observe)
    found_K = tuple(int(count) for count in np.bincount(labels_N, minlength=len(wanted.classes)))
    if found_K != counts_K:
        raise DataError(
            f"{labels_path} does not hold the labels of {wanted.title}: images by class are "
            f"{', '.join(map(str, found_K))}, expected {', '.join(map(str, counts_K))}",
            hint=idx.CURE,
        )
    return images_NHW, labels_N
