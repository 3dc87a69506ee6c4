"""iNaturalist 2021: the competition's JSON files, which say what the photographs beside them are.

Below the folder that is named: train.json (or train2021.json, train_mini.json), val.json (or val2021.json), and the images
where the `file_name` in them says. The format: https://github.com/visipedia/inat_comp/tree/master/2021, "Annotation Format".
The checksums: torchvision 0.26, datasets/inaturalist.py.
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.data import image_list
from sortal.data.json_items import items
from sortal.errors import DataError
from sortal.events import Observer, Progress, ignore

ANNOTATIONS = {
    "train": ("train2021.json", "train.json", "train_mini2021.json", "train_mini.json"),
    "test": ("val2021.json", "val.json"),
}
"""Names of the file that labels a split, tried in order; validation, whose labels are public, is what papers report on."""
EDITIONS = {"iNaturalist 2021": (10_000, 2_686_843, 100_000), "iNaturalist 2021 mini": (10_000, 500_000, 100_000)}
"""Classes, training images, validation images."""
LEVELS = ("species", "genus", "family", "order", "class", "phylum", "kingdom")
CURE = (
    "images and annotations are at https://github.com/visipedia/inat_comp/tree/master/2021; unpack train.json.tar.gz, "
    "val.json.tar.gz, train.tar.gz (MD5 e0526d53c7f7b2e3167b2b43bb2690ed; or train_mini.tar.gz, MD5 "
    "db6ed8330e634445efc8fec83ae81442) and val.tar.gz (MD5 f6f6e0e242e3d4c9569ba56400938afc) "
    "into one folder and name it with --from"
)
SHOWN = 5


@dataclass(frozen=True)
class Annotations:
    """What one JSON file says, but for the names of its images."""

    path: Path
    categories: dict[int, dict[str, Any]]
    image_ids_N: NDArray[np.int64]
    """Sorted."""
    category_ids_N: NDArray[np.int64]


def images(source: Path, to: Path, labels: str, observe: Observer = ignore) -> Iterator[image_list.Row]:
    """(path, label, split) of every training image, then of every validation image as 'test', for a table called `to`.

    `labels` is one of `LEVELS`. Raises `DataError` naming the file that is missing, damaged or not what it should be.
    """
    if not source.is_dir():
        raise DataError(f"{source} is no folder", hint=CURE)
    found = {split: _annotations(_find(source, split)) for split in ANNOTATIONS}
    _check(found["train"], found["test"])
    total = sum(len(annotations.image_ids_N) for annotations in found.values())
    names = _names(found["train"], labels)
    prefix = image_list.prefix(source, to)
    done = 0
    for split, annotations in found.items():
        for file, category in _labelled(source, annotations):
            done += 1
            if done % 10_000 == 0 or done == total:
                observe(Progress("listing iNaturalist", done, total))
            yield prefix + file, names[category], split


def _find(source: Path, split: str) -> Path:
    for name in ANNOTATIONS[split]:
        if (source / name).is_file():
            return source / name
    raise DataError(f"{source} holds none of {', '.join(ANNOTATIONS[split])}", hint=CURE)


def _annotations(path: Path) -> Annotations:
    categories: dict[int, dict[str, Any]] = {}
    image_ids, category_ids = array("q"), array("q")
    for key, item in items(path, ("categories", "annotations")):
        try:
            if key == "categories":
                categories[int(item["id"])] = item
            else:
                image_ids.append(item["image_id"])
                category_ids.append(item["category_id"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path}: {str(item)[:80]} is none of its {key}: {error!r}", hint=CURE) from error
    images_N, categories_N = np.frombuffer(image_ids, np.int64), np.frombuffer(category_ids, np.int64)
    order_N = np.argsort(images_N, kind="stable")
    images_N, categories_N = images_N[order_N], categories_N[order_N]
    if len(images_N) and (np.diff(images_N) == 0).any():
        twice = images_N[:-1][np.diff(images_N) == 0][0]
        raise DataError(f"{path}: image {twice} has two labels", hint=CURE)
    if unknown := set(np.unique(categories_N).tolist()) - categories.keys():
        raise DataError(f"{path}: category {min(unknown)} is not described", hint=CURE)
    return Annotations(path, categories, images_N, categories_N)


def _check(train: Annotations, validation: Annotations) -> None:
    """The two files belong to one edition, and each to its split."""
    sizes = len(train.categories), len(train.image_ids_N), len(validation.image_ids_N)
    for one, count, place in ((train, sizes[1], 1), (validation, sizes[2], 2)):
        if not any(edition[0] == len(one.categories) and edition[place] == count for edition in EDITIONS.values()):
            expected = " or ".join(f"{edition[0]:,} and {edition[place]:,} ({name})" for name, edition in EDITIONS.items())
            raise DataError(
                f"{one.path} has {len(one.categories):,} classes and {count:,} images, expected {expected}", hint=CURE
            )
    if {number: item.get("name") for number, item in train.categories.items()} != {
        number: item.get("name") for number, item in validation.categories.items()
    }:
        raise DataError(f"{train.path} and {validation.path} differ in classes: they belong to two editions", hint=CURE)


def _names(annotations: Annotations, level: str) -> dict[int, str]:
    """Label of each category; species of one name are told apart by their numbers."""
    key = "name" if level == "species" else level
    names = {}
    for number, item in annotations.categories.items():
        name = item.get(key)
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{annotations.path}: category {number} has no {key}", hint=CURE)
        names[number] = name.strip().replace("|", "/")
    if level == "species":
        twice = {name for name, count in Counter(names.values()).items() if count > 1}
        names = {number: f"{name} ({number})" if name in twice else name for number, name in names.items()}
    return names


def _labelled(source: Path, annotations: Annotations) -> Iterator[tuple[str, int]]:
    """File and category of each image in the file's order; every image is there and has its label, or an error."""
    root = f"{source}/"  # joined as text: `Path` would take longer than the disk over millions of names
    seen, missing = 0, 0
    shown: list[str] = []
    for _, item in items(annotations.path, ("images",)):
        number, file = item.get("id"), item.get("file_name")
        if type(number) is not int or not isinstance(file, str) or not _stays_below(file):
            raise DataError(f"{annotations.path}: {str(item)[:80]} is none of its images", hint=CURE)
        place = int(np.searchsorted(annotations.image_ids_N, number))
        if place == len(annotations.image_ids_N) or annotations.image_ids_N[place] != number:
            raise DataError(f"{annotations.path}: {file} has no label", hint=CURE)
        seen += 1
        if not os.path.isfile(root + file):
            missing += 1
            shown.extend([file] if missing <= SHOWN else [])
        yield file, int(annotations.category_ids_N[place])
    if seen != len(annotations.image_ids_N):
        raise DataError(f"{annotations.path} labels {len(annotations.image_ids_N):,} images and names {seen:,}", hint=CURE)
    if missing:
        more = ", ..." if missing > SHOWN else ""
        raise DataError(f"{source} lacks {missing:,} images: {', '.join(shown)}{more}", hint=CURE)


def _stays_below(file: str) -> bool:
    path = PurePosixPath(file)
    return bool(file.strip()) and not path.is_absolute() and ".." not in path.parts
