"""ImageNet (ILSVRC 2012): class folders, and validation images labelled by the devkit, by Kaggle, or by class folders.

What may lie where, below the folder that is named:

    train/n01440764/*.JPEG                          also ILSVRC2012_img_train/, ILSVRC/Data/CLS-LOC/train/
    val/ILSVRC2012_val_00000001.JPEG                also validation/, ILSVRC2012_img_val/, ILSVRC/Data/CLS-LOC/val/
    val/n01440764/*.JPEG                            class folders there need no further file
    ILSVRC2012_devkit_t12/data/, or its .tar.gz     meta.mat and ILSVRC2012_validation_ground_truth.txt
    LOC_val_solution.csv, LOC_synset_mapping.txt    of Kaggle

The layouts: the readme of the devkit, torchvision's datasets/imagenet.py, and Kaggle's page of the competition.
"""

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortal.data import image_list
from sortal.data.sources import TarSource
from sortal.errors import DataError, MissingExtra, UnreadableImage
from sortal.events import Note, Observer, Progress, ignore

SYNSET = re.compile(r"n\d{8}")
VALIDATION_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)
TRAIN = ("train", "ILSVRC2012_img_train", "ILSVRC/Data/CLS-LOC/train", "Data/CLS-LOC/train")
VALIDATION = ("val", "validation", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val")
DEVKIT = "ILSVRC2012_devkit_t12"
GROUND_TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
CURE = (
    "images and devkit are given out at https://image-net.org/challenges/LSVRC/2012 to whoever registers; "
    "a part of ImageNet in class folders needs none of this: name its folder to `sortal train`"
)
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a whole copy holds."""

    classes: int = 1_000
    train: int = 1_281_167
    validation: int = 50_000


WHOLE = Sizes()


@dataclass(frozen=True, slots=True)
class Devkit:
    """What the devkit says."""

    synsets: Mapping[int, str]
    """Number, from 1, to synset."""
    words: Mapping[str, str]
    """Synset to names of what it is, with commas between."""
    images: Mapping[str, int]
    """Synset to training images."""


def images(source: Path, to: Path, labels: str, observe: Observer = ignore) -> Iterator[image_list.Row]:
    """(path, label, split) of every training image, then of every validation image as 'test', for a table called `to`.

    `labels` is 'words' ('n01440764 tench' where names are at hand) or 'synset' ('n01440764'). Raises `DataError` naming
    what is missing, too many or not what it should be, `MissingExtra` where the devkit cannot be read without SciPy.
    """
    if not source.is_dir():
        raise DataError(f"{source} is no folder", hint=f"name the folder that holds train/ and val/; {CURE}")
    train, validation = _folder(source, TRAIN, "training"), _folder(source, VALIDATION, "validation")
    classes = _class_folders(train)
    devkit = _devkit(source)
    truth = _truth(source, validation, devkit)
    names = _words(source, devkit, observe) if labels == "words" else {}
    prefix = image_list.prefix(source, to)
    done = 0
    for split, rows in (
        ("train", _training(source, train, classes, devkit)),
        ("test", _validated(source, validation, truth, classes)),
    ):
        for path, synset in rows:
            done += 1
            if done % 10_000 == 0 or done == WHOLE.train + WHOLE.validation:
                observe(Progress("listing ImageNet", done, WHOLE.train + WHOLE.validation))
            yield prefix + path, f"{synset} {names[synset]}" if synset in names else synset, split


def _folder(source: Path, names: Sequence[str], what: str) -> Path:
    for name in names:
        if (source / name).is_dir():
            return source / name
    raise DataError(f"{source} holds no {what} images: none of {', '.join(f'{name}/' for name in names)}", hint=CURE)


def _class_folders(folder: Path) -> list[str]:
    """The synsets that have a folder, sorted; all of them or an error."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if SYNSET.fullmatch(entry.name) and entry.is_dir())
    if len(names) != WHOLE.classes:
        raise DataError(
            f"{folder} holds {len(names):,} class folders such as n01440764/, expected {WHOLE.classes:,}", hint=CURE
        )
    return names


def _training(source: Path, train: Path, classes: Sequence[str], devkit: Devkit | None) -> Iterator[tuple[str, str]]:
    total, wrong = 0, []
    below = train.relative_to(source).as_posix()
    for synset in classes:
        files = _images(train / synset)
        total += len(files)
        expected = devkit.images.get(synset) if devkit else None
        if not files or (expected is not None and len(files) != expected):
            wrong.append(f"{synset}/ has {len(files):,}" + ("" if expected is None else f" of {expected:,}"))
        for file in files:
            yield f"{below}/{synset}/{file}", synset
    if wrong or total != WHOLE.train:
        which = "".join(f"\n  {line}" for line in [*wrong[:SHOWN], *(["..."] if len(wrong) > SHOWN else [])])
        raise DataError(f"{train} holds {total:,} images, expected {WHOLE.train:,}{which}", hint=f"unpack it again; {CURE}")


def _validated(
    source: Path, folder: Path, truth: Mapping[str, str] | None, classes: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Validation images by name, with their synsets: from the truth where they lie flat, else from their folders."""
    below = folder.relative_to(source).as_posix()
    if truth is None:
        found = [(f"{synset}/{file}", synset) for synset in _class_folders(folder) for file in _images(folder / synset)]
        _check_validation(folder, len(found))
    else:
        files = set(_images(folder))
        if missing := sorted(truth.keys() - files):
            more = ", ..." if len(missing) > SHOWN else ""
            raise DataError(f"{folder} lacks {len(missing):,} validation images: {', '.join(missing[:SHOWN])}{more}", hint=CURE)
        _check_validation(folder, len(files))
        found = sorted(truth.items())
    if strangers := {synset for _, synset in found} ^ set(classes):
        raise DataError(f"{folder} and the training images differ in classes, such as {min(strangers)}", hint=CURE)
    for path, synset in found:
        yield f"{below}/{path}", synset


def _check_validation(folder: Path, count: int) -> None:
    if count != WHOLE.validation:
        raise DataError(f"{folder} holds {count:,} validation images, expected {WHOLE.validation:,}", hint=CURE)


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith((".jpeg", ".jpg")))


def _truth(source: Path, validation: Path, devkit: Devkit | None) -> dict[str, str] | None:
    """File name to synset of the validation images; None where class folders say it."""
    flat = [name for name in _images(validation) if VALIDATION_NUMBER.fullmatch(name)]
    if not flat:
        return None
    solution = source / SOLUTION
    if devkit is None and not solution.is_file():
        raise DataError(
            f"nothing says what the images in {validation} are", hint=f"put {DEVKIT}.tar.gz or {SOLUTION} into {source}; {CURE}"
        )
    truth = _solution(solution) if devkit is None else _ground_truth(source, devkit)
    if len(truth) != WHOLE.validation:
        where = solution if devkit is None else GROUND_TRUTH
        raise DataError(f"{where} labels {len(truth):,} images, expected {WHOLE.validation:,}", hint=CURE)
    suffix = flat[0].partition(".")[2]
    return {f"{name}.{suffix}": synset for name, synset in truth.items()}


def _ground_truth(source: Path, devkit: Devkit) -> dict[str, str]:
    """Line i of the devkit's file is the number of the class of validation image i."""
    found = _devkit_file(source, GROUND_TRUTH)
    if found is None:
        raise DataError(f"{source} has {META} of the devkit but not {GROUND_TRUTH}", hint=CURE)
    where, data = found
    truth = {}
    for number, line in enumerate(data.decode("latin-1").split(), start=1):
        if not line.isdecimal() or int(line) not in devkit.synsets:
            raise DataError(f"{where}, line {number:,}: {line!r} is no class of {META}", hint=CURE)
        truth[f"ILSVRC2012_val_{number:08}"] = devkit.synsets[int(line)]
    return truth


def _solution(path: Path) -> dict[str, str]:
    """Kaggle's `ImageId,PredictionString`: the string begins with the synset, then come boxes."""
    truth = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for row in reader:
            name, synset = row.get("ImageId") or "", (row.get("PredictionString") or "").partition(" ")[0]
            if not name or not SYNSET.fullmatch(synset):
                raise DataError(f"{path}, line {reader.line_num:,}: no ImageId and PredictionString with a synset", hint=CURE)
            truth[name] = synset
    return truth


def _words(source: Path, devkit: Devkit | None, observe: Observer) -> dict[str, str]:
    """Synset to the first of its names."""
    words = dict(devkit.words) if devkit else {}
    mapping = source / MAPPING
    if not words and mapping.is_file():
        words = dict(line.strip().split(" ", 1) for line in mapping.read_text("utf-8").splitlines() if " " in line.strip())
    if not words:
        observe(Note(f"neither the devkit nor {MAPPING} is in {source}: classes are called by their synsets alone"))
    return {synset: names.split(",")[0].strip() for synset, names in words.items()}


def _devkit(source: Path) -> Devkit | None:
    """What meta.mat says; None where it is not there."""
    found = _devkit_file(source, META)
    if found is None:
        return None
    where, data = found
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtra(f"SciPy, which reads {where},", "torch") from error
    try:
        rows = [_fields(entry) for entry in loadmat(io.BytesIO(data), squeeze_me=True)["synsets"]]
    # Whatever a damaged file makes of SciPy's reader.
    except Exception as error:
        raise DataError(f"{where} is damaged or not the devkit's: {error}", hint=CURE) from error
    leaves = [(number, synset, words, images) for number, synset, words, children, images in rows if children == 0]
    if len(leaves) != WHOLE.classes:
        raise DataError(f"{where} describes {len(leaves):,} classes, expected {WHOLE.classes:,}", hint=CURE)
    return Devkit(
        {number: synset for number, synset, *_ in leaves},
        {synset: words for _, synset, words, _ in leaves},
        {synset: images for _, synset, _, images in leaves},
    )


def _fields(entry: Any) -> tuple[int, str, str, int, int]:
    """Number, synset, words, children and training images of one entry of meta.mat."""
    names = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")
    number, synset, words, children, images = (
        entry[name].item() if hasattr(entry[name], "item") else entry[name] for name in names
    )
    if not SYNSET.fullmatch(synset):
        raise ValueError(f"{synset!r} is no synset")
    return int(number), synset, str(words), int(children), int(images)


def _devkit_file(source: Path, name: str) -> tuple[str, bytes] | None:
    """Where a file of the devkit is, and its bytes: unpacked, or in the archive."""
    for folder in (source / DEVKIT / "data", source / "data", source / DEVKIT, source):
        if (folder / name).is_file():
            return str(folder / name), (folder / name).read_bytes()
    archive = source / f"{DEVKIT}.tar.gz"
    if not archive.is_file():
        return None
    tar = TarSource(archive)
    try:
        member = next((member for member in tar.names() if member.rsplit("/", 1)[-1] == name), None)
        if member is None:
            raise DataError(f"{archive} does not hold {name}", hint=CURE)
        return f"{archive}/{member}", tar.read(member)
    except UnreadableImage as error:
        raise DataError(f"{archive}: {name} cannot be read: {error}", hint=CURE) from error
    finally:
        tar.close()
