"""How a tree of files says what its images are: one folder a class, or train/, val/ and test/ of such folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sortal.data.sources import Source
from sortal.errors import DataError

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".ico",
)  # fmt: skip
JUNK = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"}
SHOWN = 5


@dataclass(frozen=True)
class Listing:
    """Which images there are, before any is opened: parallel lists, one entry an image, in the order of quickest reading."""

    source: Source
    root: Path
    names: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    splits: Sequence[str | None]
    groups: Sequence[str | None]
    given_splits: tuple[str, ...]
    folds: Sequence[int | None] | None = None
    exclusions: Sequence[tuple[str | None, str] | None] | None = None
    """(content, reason) of rows that a manifest had set aside."""
    about: Sequence[Mapping[str, str] | None] | None = None
    """What other columns of a table say of each image, by column."""


def read_tree(source: Source, root: Path) -> Listing:
    """Labels and splits from the names of a folder or archive; raises `DataError` if the tree says neither.

    Hidden files and what operating systems leave behind are passed over. One folder that wraps all others is taken off.
    """
    names: list[str] = []
    paths: list[list[str]] = []
    for name in source.names():
        path = [part for part in name.split("/") if part and part != "."]
        if path and not any(part.startswith(".") or part.lower() in JUNK for part in path):
            names.append(name)
            paths.append(path)
    # Files that are named as images show the layout; if there are none, all files do.
    pictures = [path for path in paths if _named_as_image(path)] or paths
    if not pictures:
        raise DataError(f"{root} holds no images", hint=CURE)
    depth, wrapper = _wrapping(pictures)
    pictures = [path[depth:] for path in pictures]
    place = "/".join([str(root), *wrapper])
    by_split = _has_splits(pictures, place)
    _refuse_beside(pictures, by_split, place, paths, root)

    kept, labels, splits = [], [], []
    for name, path in zip(names, paths, strict=True):
        if path[:depth] != wrapper or len(path) < depth + 2 + by_split:
            continue  # a README beside the class folders
        if by_split and path[depth].lower() not in SPLIT_NAMES:
            continue
        kept.append(name)
        labels.append((path[depth + by_split],))
        splits.append(SPLIT_NAMES[path[depth].lower()] if by_split else None)
    found = {split for split in splits if split}
    given = tuple(split for split in ("train", "val", "test") if split in found)
    return Listing(source, root, kept, labels, splits, [None] * len(kept), given)


CURE = "give one folder a class (photos/ants/1.jpg, photos/bees/2.jpg), or a CSV with the columns path and label"


def _named_as_image(path: Sequence[str]) -> bool:
    return path[-1].lower().endswith(IMAGE_SUFFIXES)


def _wrapping(pictures: Sequence[Sequence[str]]) -> tuple[int, list[str]]:
    """How many folders wrap everything, and their names."""
    depth = 0
    while True:
        tops = {path[depth] for path in pictures if len(path) > depth + 1}
        alone = len(tops) == 1 and all(len(path) > depth + 1 for path in pictures)
        if not alone or tops & SPLIT_NAMES.keys() or not any(len(path) > depth + 2 for path in pictures):
            return depth, list(pictures[0][:depth])
        depth += 1


def _has_splits(pictures: Sequence[Sequence[str]], place: str) -> bool:
    """Whether the top folders are splits. A class may be called 'train' (beside 'bus'): then images lie in it directly."""
    tops = {path[0] for path in pictures if len(path) > 1}
    splits = {top for top in tops if top.lower() in SPLIT_NAMES}
    with_classes = {path[0] for path in pictures if len(path) > 2} & splits
    if not splits or (not with_classes and splits != tops):
        return False
    if splits != tops:
        others = ", ".join(sorted(tops - splits)[:SHOWN])
        raise DataError(
            f"{place} holds {_joined(splits)} with class folders, and beside them other folders with images: {others}",
            hint="put class folders into train/, val/ and test/ only, or leave the splits to sortal: one folder a class",
        )
    return True


def _refuse_beside(
    pictures: Sequence[Sequence[str]], by_split: bool, place: str, paths: Sequence[Sequence[str]], root: Path
) -> None:
    """Images must lie inside class folders, all of them."""
    needed = 2 + by_split
    beside = ["/".join(path) for path in pictures if len(path) < needed]
    if not beside:
        return
    shown = ", ".join(beside[:SHOWN]) + (", ..." if len(beside) > SHOWN else "")
    if len(beside) == len(pictures):
        tables = [path[-1] for path in paths if path[-1].lower().endswith((".csv", ".parquet"))]
        hint = f"if {tables[0]} says what they are, name it: sortal check {root / tables[0]}" if tables else CURE
        raise DataError(f"{place} holds images but no class folders: {shown}", hint=hint)
    count = "1 image stands" if len(beside) == 1 else f"{len(beside):,} images stand"
    raise DataError(f"{count} beside the class folders of {place}: {shown}", hint="move them into the folder of their class")


def _joined(names: set[str]) -> str:
    return " and ".join(f"{name}/" for name in sorted(names))
