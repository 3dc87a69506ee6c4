"""Standard data sets: what the field compares itself on, and a reader for those of them whose files we can read.

The table follows the tutorials that the project comes from, with two corrections. They give iNaturalist 10k classes,
800k and 100k images, which mixes editions: here stands that of 2021, the one with 10,000 classes. And they call
ImageNet 224 x 224, which is what networks are shown: the photographs have all sizes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.data import idx, picture_table, png
from sortal.errors import DataError, NotSupported, UnknownName
from sortal.events import Observer, Progress, ignore


@dataclass(frozen=True, slots=True)
class Standard:
    """One standard data set.

    Attributes:
        name: what `sortal data NAME` calls it.
        title: its own name.
        classes: how many there are.
        train, test: images in the split that is trained on and in the one that papers report on.
        resolution: pixels, width x height, or 'various'.
        difficulty: easy, medium, hard or very hard, as the tutorials rate it.
        licence: of the images, as far as it is known.
        readable: whether `write_parquet` can read its official files.
        note: what one should know before quoting the numbers.
    """

    name: str
    title: str
    classes: int
    train: int
    test: int
    resolution: str
    difficulty: str
    licence: str
    readable: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields, as in the contract's `datasets`."""
        return asdict(self)


STANDARD: Mapping[str, Standard] = {
    entry.name: entry
    for entry in (
        Standard("mnist", "MNIST", 10, 60_000, 10_000, "28 x 28", "easy", "CC BY-SA 3.0", readable=True),
        Standard("fashion-mnist", "Fashion-MNIST", 10, 60_000, 10_000, "28 x 28", "easy", "MIT", readable=True),
        Standard("cifar-10", "CIFAR-10", 10, 50_000, 10_000, "32 x 32", "medium", "not stated"),
        Standard("cifar-100", "CIFAR-100", 100, 50_000, 10_000, "32 x 32", "hard", "not stated"),
        Standard(
            "imagenet", "ImageNet", 1_000, 1_281_167, 50_000, "various", "hard", "non-commercial research, education",
            note="ILSVRC 2012; the 50,000 are its validation images, whose labels are public; shown at 224 x 224",
        ),
        Standard(
            "inaturalist", "iNaturalist 2021", 10_000, 2_686_843, 100_000, "various", "very hard",
            "each photograph has its own",
            note="the 100,000 are its validation images, whose labels are public",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class IdxSet:
    """What the four IDX files of a data set of 28 x 28 grey images must hold."""

    classes: tuple[str, ...]
    folder: Path | None
    """Where a package puts the files."""
    counts: Mapping[str, tuple[int, ...]]
    """Images of each class by split: the cheapest way to tell one data set from another that has the same sizes."""
    cure: str


# Where Debian's package dataset-fashion-mnist puts them.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
SIZE = 28
STEMS = {"train": "train", "test": "t10k"}

IDX_SETS = {
    "fashion-mnist": IdxSet(
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        folder=DEBIAN_FASHION_MNIST,
        counts={"train": (6_000,) * 10, "test": (1_000,) * 10},
        cure="apt install dataset-fashion-mnist, or name a folder with the four files of "
        "https://github.com/zalandoresearch/fashion-mnist",
    ),
    "mnist": IdxSet(
        classes=tuple("0123456789"),
        folder=None,
        counts={
            "train": (5_923, 6_742, 5_958, 6_131, 5_842, 5_421, 5_918, 6_265, 5_851, 5_949),
            "test": (980, 1_135, 1_032, 1_010, 982, 892, 958, 1_028, 974, 1_009),
        },
        cure="name the folder that holds its four files (train-images-idx3-ubyte.gz and so on)",
    ),
}  # fmt: skip


def find(name: str) -> Standard:
    """The data set of that name; raises `UnknownName`."""
    if name not in STANDARD:
        raise UnknownName("standard data set", name, STANDARD, hint="`sortal data` lists them")
    return STANDARD[name]


def write_parquet(name: str, *, source: Path | None = None, to: Path, observe: Observer = ignore) -> Path:
    """Write a standard data set as one Parquet that `sortal check` and `sortal train` take; returns its path.

    `to` is a name that ends in .parquet, or a folder in which it is called NAME.parquet.

    Columns: image (PNG bytes), label (class name), split ('train' or 'test'), in row groups of 1,000. `source` is the
    folder with the official files; None is where Debian's package puts them. Raises `UnknownName`, `NotSupported` (a
    set that we cannot read), `DataError` (missing or damaged files, named), `RunExists` (`to` exists).
    """
    entry = find(name)
    to = to if to.suffix == ".parquet" else to / f"{name}.parquet"
    splits = read(name, source=source)
    total = sum(len(labels_N) for _, labels_N in splits.values())
    about = {"title": entry.title, "licence": entry.licence, "classes": "|".join(IDX_SETS[name].classes)}

    def groups() -> Iterator[picture_table.Rows]:
        done = 0
        for split, (images_NHW, labels_N) in splits.items():
            for low in range(0, len(labels_N), picture_table.ROW_GROUP):
                names = [IDX_SETS[name].classes[label] for label in labels_N[low : low + picture_table.ROW_GROUP]]
                yield png.encode(images_NHW[low : low + len(names)]), names, [split] * len(names)
                done += len(names)
                observe(Progress(f"writing {entry.title}", done, total))

    return picture_table.write(to, groups(), about=about)


Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images of shape (N, 28, 28) and labels of shape (N,)."""


def read(name: str, *, source: Path | None = None) -> dict[str, Labelled]:
    """Images and labels of 'train' and 'test' from the official IDX files; raises as `write_parquet` does."""
    entry = find(name)
    if name not in IDX_SETS:
        raise NotSupported(
            f"the files of {entry.title} are not among those that can be read",
            hint=f"readable: {', '.join(IDX_SETS)}; of any other, name a folder of images with one folder a class",
        )
    wanted = IDX_SETS[name]
    folder = source if source is not None else wanted.folder
    if folder is None or not folder.is_dir():
        where = f"there is no folder {folder}" if folder else f"nothing says where the files of {entry.title} are"
        raise DataError(where, hint=wanted.cure)
    return {split: _read_split(folder, stem, wanted, split, entry.title) for split, stem in STEMS.items()}


def _read_split(folder: Path, stem: str, wanted: IdxSet, split: str, title: str) -> Labelled:
    counts_K = wanted.counts[split]
    images_path = idx.find(folder, f"{stem}-images-idx3-ubyte")
    labels_path = idx.find(folder, f"{stem}-labels-idx1-ubyte")
    images_NHW = idx.read_images(images_path, count=sum(counts_K), height=SIZE, width=SIZE)
    labels_N = idx.read_labels(labels_path, count=sum(counts_K), classes=len(wanted.classes))
    found_K = tuple(int(count) for count in np.bincount(labels_N, minlength=len(wanted.classes)))
    if found_K != counts_K:
        raise DataError(
            f"{labels_path} does not hold the labels of {title}: images by class are {', '.join(map(str, found_K))}, "
            f"expected {', '.join(map(str, counts_K))}",
            hint=wanted.cure,
        )
    return images_NHW, labels_N
