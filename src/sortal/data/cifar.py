"""CIFAR-10 and CIFAR-100: 32 x 32 colour pictures, from the binary or the Python version, unpacked or as the archive."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.data import official, pickled, picture_table, png
from sortal.data.sources import Source, is_tar, is_zip, open_source
from sortal.errors import DataError, UnreadableImage
from sortal.events import Observer, ignore

SIDE = 32
PIXELS = 3 * SIDE * SIDE
SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Form:
    """How one version of a data set is packed."""

    archive: str
    folder: str
    """Into which the archive unpacks."""
    files: Mapping[str, tuple[str, ...]]
    """Those with images, by split."""

    def all_files(self) -> list[str]:
        """Those with images, training first."""
        return [name for split in SPLITS for name in self.files[split]]


@dataclass(frozen=True, slots=True)
class Labels:
    """One of the ways in which a data set labels its images."""

    byte: int
    """Which byte of a record of the binary version."""
    key: str
    """Under which the Python version has them."""
    names_file: str
    """In which the binary version has the names of the classes, one a line."""
    names_key: str
    """Under which the Python version has them."""
    each: Mapping[str, int]
    """Images of every class by split: all classes have equally many."""


@dataclass(frozen=True, slots=True)
class CifarSet:
    """What the files of a data set must hold."""

    title: str
    binary: Form
    python: Form
    names_file: str
    """In which the Python version has the names of the classes."""
    labels: Mapping[str, Labels]
    rows: Mapping[str, int]
    """Images of each file by split."""


SETS: dict[str, CifarSet] = {
    "cifar-10": CifarSet(
        title="CIFAR-10",
        binary=Form(
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-bin",
            {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        ),
        python=Form(
            "cifar-10-python.tar.gz",
            "cifar-10-batches-py",
            {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
        ),
        names_file="batches.meta",
        labels={"class": Labels(0, "labels", "batches.meta.txt", "label_names", {"train": 5_000, "test": 1_000})},
        rows={"train": 10_000, "test": 10_000},
    ),
    "cifar-100": CifarSet(
        title="CIFAR-100",
        binary=Form("cifar-100-binary.tar.gz", "cifar-100-binary", {"train": ("train.bin",), "test": ("test.bin",)}),
        python=Form("cifar-100-python.tar.gz", "cifar-100-python", {"train": ("train",), "test": ("test",)}),
        names_file="meta",
        labels={
            "fine": Labels(1, "fine_labels", "fine_label_names.txt", "fine_label_names", {"train": 500, "test": 100}),
            "coarse": Labels(0, "coarse_labels", "coarse_label_names.txt", "coarse_label_names", {"train": 2_500, "test": 500}),
        },
        rows={"train": 50_000, "test": 10_000},
    ),
}

CURE = "fetch it again from https://www.cs.toronto.edu/~kriz/cifar.html; its files must keep their names"

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pictures of shape (N, 3, 32, 32) and labels of shape (N,)."""


def pictures(name: str, source: Path, labels: str, observe: Observer = ignore) -> Iterator[picture_table.Rows]:
    """Rows of 'train', then of 'test', a thousand at a time; one file is held at once.

    `labels` is a key of the set's `labels`. Raises `DataError` naming the file that does not fit.
    """
    wanted = SETS[name]
    with _Files(source, wanted, observe) as files:
        classes = files.class_names(wanted.labels[labels])
        for split in SPLITS:
            counts = _Counts(wanted, split, wanted.labels[labels], classes)
            for file in files.form.files[split]:
                images_NCHW, labels_N = files.read(file, split, wanted.labels[labels], len(classes))
                counts.add(file, labels_N)
                for low in range(0, len(labels_N), picture_table.ROW_GROUP):
                    rows = slice(low, low + picture_table.ROW_GROUP)
                    encoded = png.encode(np.moveaxis(images_NCHW[rows], 1, -1))
                    yield encoded, [classes[label] for label in labels_N[rows]], [split] * len(encoded)
            counts.check(files.place)


class _Files:
    """The files of one version, in a folder or an archive."""

    def __init__(self, place: Path, wanted: CifarSet, observe: Observer) -> None:
        self.wanted, self.observe = wanted, observe
        self.place, self.names = _locate(place, wanted)
        form = _form(wanted, self.names)
        if form is None:
            other = next((other.title for other in SETS.values() if other is not wanted and _form(other, self.names)), None)
            what = f"holds {other}, not {wanted.title}" if other else f"holds no files of {wanted.title}"
            raise DataError(f"{self.place} {what}", hint=f"name the folder or archive of {wanted.title}; {CURE}")
        self.form = form
        if missing := [name for name in [*self.form.all_files(), *self._names_files()] if name not in self.names]:
            raise DataError(f"{self.place} lacks {', '.join(missing)} of {wanted.title}", hint=CURE)
        if self.place.is_file():
            official.check_archive(self.place, wanted.title, self.form.archive, observe)
        self._source: Source = open_source(self.place)
        self._seen: dict[bytes, str] = {}

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *exception: object) -> None:
        self._source.close()

    def class_names(self, labels: Labels) -> list[str]:
        """The names of the classes in the order of their numbers."""
        if self._is_binary:
            file = labels.names_file
            lines = self._bytes(file).decode("latin-1").splitlines()
            names = [line.strip() for line in lines if line.strip()]
        else:
            file = self.wanted.names_file
            found = self._pickle(file).get(labels.names_key)
            listed = found if isinstance(found, list) else []
            names = [name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in listed]
        count = self.wanted.rows["test"] // labels.each["test"]
        if len(names) != count or len(set(names)) != count or any("|" in name or not name.strip() for name in names):
            raise DataError(f"{self._where(file)} does not hold {count} names of classes, one each", hint=CURE)
        return names

    def read(self, file: str, split: str, labels: Labels, classes: int) -> Batch:
        """The pictures and labels of one file, checked."""
        read = self._read_binary if self._is_binary else self._read_python
        images_NCHW, labels_N = read(file, split, labels)
        if len(labels_N) != self.wanted.rows[split]:
            count = f"{len(labels_N):,} images, expected {self.wanted.rows[split]:,}"
            raise DataError(f"{self._where(file)} holds {count}", hint=CURE)
        if labels_N.max() >= classes or labels_N.min() < 0:
            row = int(np.argmax((labels_N >= classes) | (labels_N < 0)))
            raise DataError(f"{self._where(file)}: label {labels_N[row]} of image {row} is not in 0..{classes - 1}", hint=CURE)
        digest = hashlib.sha256(images_NCHW.data).digest()
        if digest in self._seen:
            raise DataError(f"{self._where(file)} holds the same images as {self._seen[digest]}", hint=CURE)
        self._seen[digest] = file
        return images_NCHW, labels_N

    def _read_binary(self, file: str, split: str, labels: Labels) -> Batch:
        data = self._bytes(file)
        length = len(self.wanted.labels) + PIXELS
        if len(data) != self.wanted.rows[split] * length:
            sizes = f"{len(data):,} bytes, expected {self.wanted.rows[split]:,} records of {length:,}"
            raise DataError(f"{self._where(file)} holds {sizes}", hint=CURE)
        records_NB = np.frombuffer(data, np.uint8).reshape(-1, length)
        images_NCHW = np.ascontiguousarray(records_NB[:, -PIXELS:]).reshape(-1, 3, SIDE, SIDE)
        return images_NCHW, records_NB[:, labels.byte].astype(np.int64)

    def _read_python(self, file: str, split: str, labels: Labels) -> Batch:
        batch = self._pickle(file)
        images, found = batch.get("data"), batch.get(labels.key)
        if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != PIXELS:
            shape = " x ".join(map(str, images.shape)) if isinstance(images, np.ndarray) else "nothing"
            raise DataError(f"{self._where(file)}: 'data' is {shape}, expected rows of {PIXELS:,} bytes", hint=CURE)
        if not isinstance(found, list) or not all(type(label) is int and 0 <= label < 256 for label in found):
            raise DataError(f"{self._where(file)} has no list of numbers called {labels.key!r}", hint=CURE)
        if len(found) != len(images):
            raise DataError(f"{self._where(file)} has {len(images):,} images and {len(found):,} labels", hint=CURE)
        self._check_batch_label(file, split, batch.get("batch_label"))
        return np.ascontiguousarray(images).reshape(-1, 3, SIDE, SIDE), np.array(found, np.int64)

    def _check_batch_label(self, file: str, split: str, label: Any) -> None:
        """What a file says of itself: 'training batch 1 of 5', 'testing batch 1 of 1'."""
        said = label.decode("latin-1") if isinstance(label, bytes) else str(label or "")
        if said.startswith({"train": "testing", "test": "training"}[split]):
            raise DataError(f"{self._where(file)} calls itself {said!r}: files changed places", hint=CURE)

    def _pickle(self, file: str) -> dict[str, Any]:
        data = self._bytes(file)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        official.check_content(self._where(file), md5, self.wanted.title, file, self.observe)
        return pickled.load(data, where=self._where(file))

    def _bytes(self, file: str) -> bytes:
        try:
            return self._source.read(self.names[file])
        except UnreadableImage as error:
            raise DataError(f"{self._where(file)} cannot be read: {error}", hint=CURE) from error

    def _where(self, file: str) -> str:
        return f"{self.place}/{self.names[file]}"

    def _names_files(self) -> list[str]:
        return [labels.names_file for labels in self.wanted.labels.values()] if self._is_binary else [self.wanted.names_file]

    @property
    def _is_binary(self) -> bool:
        return self.form is self.wanted.binary


def _locate(place: Path, wanted: CifarSet) -> tuple[Path, dict[str, str]]:
    """Where the files are, and each file's key there by its name: `place`, its official folder, or its official archive."""
    if not place.exists():
        raise DataError(f"{place} does not exist", hint=f"name the folder or archive of {wanted.title}; {CURE}")
    if place.is_file() and not (is_tar(place) or is_zip(place)):
        raise DataError(f"{place} is no archive", hint=f"name the .tar.gz of {wanted.title}, or the folder with its files")
    forms = (wanted.binary, wanted.python)
    below = [place / form.folder for form in forms] + [place / form.archive for form in forms]
    for candidate in [place, *below] if place.is_dir() else [place]:
        if candidate.exists() and _form(wanted, names := _names(candidate)):
            return candidate, names
    found = next((path for path in below if path.exists()), place)
    return found, _names(found)


def _names(place: Path) -> dict[str, str]:
    if place.is_dir():
        return {entry.name: entry.name for entry in os.scandir(place) if entry.is_file()}
    source = open_source(place)
    try:
        return {key.rsplit("/", 1)[-1]: key for key in source.names()}
    finally:
        source.close()


def _form(wanted: CifarSet, names: Mapping[str, str]) -> Form | None:
    """Which version these are the files of, if only in part."""
    return next((form for form in (wanted.binary, wanted.python) if any(name in names for name in form.all_files())), None)


class _Counts:
    """How many images of each class a split holds, file by file."""

    def __init__(self, wanted: CifarSet, split: str, labels: Labels, classes: Sequence[str]) -> None:
        self.title, self.split, self.each, self.classes = wanted.title, split, labels.each[split], classes
        self.by_file: dict[str, NDArray[np.int64]] = {}

    def add(self, file: str, labels_N: NDArray[np.int64]) -> None:
        self.by_file[file] = np.bincount(labels_N, minlength=len(self.classes))

    def check(self, place: Path) -> None:
        """Raise `DataError` unless every class has its number of images."""
        counts_K = sum(self.by_file.values(), np.zeros(len(self.classes), np.int64))
        wrong = np.flatnonzero(counts_K != self.each)
        if not len(wrong):
            return
        suspects = [file for file, count_K in self.by_file.items() if len(self.by_file) > 1 and len(set(count_K.tolist())) == 1]
        files = ", ".join(suspects or self.by_file)
        what = "looks like the test batch" if suspects else "not what its name says"
        raise DataError(
            f"{place} does not hold the {self.split} images of {self.title}: {counts_K[wrong[0]]:,} of class "
            f"{self.classes[wrong[0]]!r}, expected {self.each:,} ({files}: {what})",
            hint=CURE,
        )
