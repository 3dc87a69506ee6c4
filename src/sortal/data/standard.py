"""Standard data sets: what the field compares itself on, and how their official files become something to train on.

The table follows the tutorials that the project comes from, with two corrections. They give iNaturalist 10k classes,
800k and 100k images, which mixes editions: here stands that of 2021, the one with 10,000 classes. And they call
ImageNet 224 x 224, which is what networks are shown: the photographs have all sizes.

Small pictures become one Parquet file that holds them; photographs stay where they are, and a CSV refers to them. The split
that papers report on is 'test' in both, so that a training never chooses by it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sortal.data import cifar, download, image_list, imagenet, inaturalist, mnist, official, picture_table
from sortal.errors import DataError, RunExists, UnknownName
from sortal.events import Observer, Progress, ignore

PICTURES, REFERENCES = ".parquet", ".csv"


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
        becomes: '.parquet' that holds the pictures, or '.csv' that refers to photographs where they are.
        labels: what its classes may be, the usual first; empty where there is one way only.
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
    becomes: str = PICTURES
    labels: tuple[str, ...] = ()
    note: str = ""

    @property
    def downloads(self) -> bool:
        """Whether its files can be downloaded by us."""
        return self.name in official.DOWNLOADS

    def to_json(self) -> dict[str, Any]:
        """The fields, as in the contract's `datasets`."""
        return {**asdict(self), "labels": list(self.labels), "downloads": self.downloads}


STANDARD: Mapping[str, Standard] = {
    entry.name: entry
    for entry in (
        Standard("mnist", "MNIST", 10, 60_000, 10_000, "28 x 28", "easy", "CC BY-SA 3.0"),
        Standard("fashion-mnist", "Fashion-MNIST", 10, 60_000, 10_000, "28 x 28", "easy", "MIT"),
        Standard("cifar-10", "CIFAR-10", 10, 50_000, 10_000, "32 x 32", "medium", "not stated"),
        Standard(
            "cifar-100", "CIFAR-100", 100, 50_000, 10_000, "32 x 32", "hard", "not stated",
            labels=tuple(cifar.SETS["cifar-100"].labels),
            note="the 100 classes are the fine labels; the 20 coarse ones are their groups",
        ),
        Standard(
            "imagenet", "ImageNet", 1_000, 1_281_167, 50_000, "various", "hard", "non-commercial research, education",
            becomes=REFERENCES, labels=("words", "synset"),
            note="ILSVRC 2012; the 50,000 are its validation images, whose labels are public; shown at 224 x 224",
        ),
        Standard(
            "inaturalist", "iNaturalist 2021", 10_000, 2_686_843, 100_000, "various", "very hard",
            "each photograph has its own",
            becomes=REFERENCES, labels=inaturalist.LEVELS,
            note="the 100,000 are its validation images, whose labels are public",
        ),
    )
}  # fmt: skip

# Where packages of the system put official files.
INSTALLED = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
HINTS = {"imagenet": imagenet.CURE, "inaturalist": inaturalist.CURE}


@dataclass(frozen=True, slots=True)
class Made:
    """The file that a data set became, and whether it had to be written: False if it stood there already, the same."""

    path: Path
    written: bool


def find(name: str) -> Standard:
    """The data set of that name; raises `UnknownName`."""
    if name not in STANDARD:
        raise UnknownName("standard data set", name, STANDARD, hint="`sortal data` lists them")
    return STANDARD[name]


def make(name: str, *, source: Path | None = None, to: Path, labels: str | None = None, observe: Observer = ignore) -> Made:
    """Make a standard data set one file that `sortal check` and `sortal train` take.

    Args:
        name: of `STANDARD`.
        source: the folder or archive of its official files. None: where a package of the system put them, else the folder
            `name` beside the result, into which what is missing there is downloaded.
        to: a file's name that ends as the set's `becomes` does, or a folder in which it is called after the set.
        labels: one of the set's `labels`; None is the first.
        observe: is told of progress, and of files that are not the published ones.

    The file is written whole or not at all and never over another. Raises `UnknownName`, `DataError` (missing, damaged or wrong
    files, named), `RunExists` (`to` is something else), `MachineFailed` (a download broke off).
    """
    entry = find(name)
    labels = _labels(entry, labels)
    to = _target(entry, to)
    source = _official_files(entry, to, observe) if source is None else source.expanduser()
    if entry.becomes == REFERENCES:
        rows = (imagenet if name == "imagenet" else inaturalist).images(source, to, labels, observe)
        return _written(to, image_list.holds(to, rows)) if to.exists() else Made(image_list.write(to, rows), True)
    pictures = mnist.pictures(name, source, observe) if name in mnist.SETS else cifar.pictures(name, source, labels, observe)
    verb = "comparing" if to.exists() else "writing"
    groups = _counted(pictures, f"{verb} {entry.title}", entry.train + entry.test, observe)
    if to.exists():
        return _written(to, picture_table.holds(to, groups))
    about = {"title": entry.title, "licence": entry.licence, "labels": labels}
    return Made(picture_table.write(to, groups, about=about), True)


def _labels(entry: Standard, labels: str | None) -> str:
    if labels is None:
        return entry.labels[0] if entry.labels else "class"
    if labels not in entry.labels:
        known = f"it has {', '.join(entry.labels)}" if entry.labels else f"{entry.title} has one kind only"
        raise UnknownName(f"kind of labels of {entry.title}", labels, entry.labels, hint=known)
    return labels


def _target(entry: Standard, to: Path) -> Path:
    to = to.expanduser()
    if to.suffix.lower() == entry.becomes:
        return to
    if to.is_file() or to.suffix.lower() in (PICTURES, REFERENCES):
        raise DataError(f"{to} is no place for {entry.title}", hint=f"name a folder, or a file that ends in {entry.becomes}")
    return to / f"{entry.name}{entry.becomes}"


def _official_files(entry: Standard, to: Path, observe: Observer) -> Path:
    """Where the files are when nobody says so."""
    installed = INSTALLED.get(entry.name)
    if installed is not None and installed.is_dir():
        return installed
    if entry.downloads:
        return download.fetch(official.DOWNLOADS[entry.name], to.parent / entry.name, observe=observe)
    raise DataError(f"{entry.title} is not downloaded by sortal, and nothing says where it is", hint=HINTS[entry.name])


def _written(to: Path, same: bool) -> Made:
    if not same:
        raise RunExists(f"{to} already exists and holds something else", hint="choose another name, or remove it first")
    return Made(to, False)


def _counted(groups: Iterator[picture_table.Rows], what: str, total: int, observe: Observer) -> Iterator[picture_table.Rows]:
    done = 0
    for group in groups:
        yield group
        done += len(group[0])
        observe(Progress(what, done, total))
