"""Scanning: from the address of a data set to its manifest. Every image is opened once, in threads; nothing is held."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from sortal.data.facts import Facts, ImageFacts
from sortal.data.layout import Listing, read_tree
from sortal.data.looks import look
from sortal.data.parallel import ordered, told
from sortal.data.phash import perceptual_hash
from sortal.data.sources import FolderSource, TarSource, ZipSource, is_tar, is_zip
from sortal.data.tables import read_csv, read_parquet
from sortal.errors import DataError, UnreadableImage
from sortal.events import Observer, ignore
from sortal.manifest import SCHEMA, Manifest
from sortal.preprocess import MAX_PIXELS, TooManyPixels, open_rgb

NOT_AN_IMAGE = "not an image"
# A JPEG's smallest scale that still has twice the pixels that the perceptual hash looks at.
DECODED_SIDE = 64
CHUNK = 4096  # rows that are held as Python objects before they become columns


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found, and how many images had to be decoded for it; the others were known by their content."""

    manifest: Manifest
    decoded: int


def scan(
    data: str | Path,
    *,
    facts: Facts,
    max_pixels: int = MAX_PIXELS,
    observe: Observer = ignore,
    workers: int | None = None,
) -> Scanned:
    """Read a folder, zip, tar, CSV, Parquet file or manifest into a manifest, one row an image.

    Images that cannot be used become rows with the reason in `exclusion`. Classes are those of the whole set, sorted, never
    those of one split. Splits that are not given stay null; `assign_splits` fills them.

    Raises:
        DataError: for what makes the whole set unusable: it does not exist, holds no images or one class only, its table has
            mistakes. Nothing was done then.
    """
    listing = list_images(Path(data))
    try:
        _check_classes(listing)
        return _opened(listing, facts, max_pixels, observe, workers)
    finally:
        facts.flush()
        listing.source.close()


def list_images(data: Path) -> Listing:
    """What there is to open, by the kind of `data`; raises `DataError`."""
    data = data.expanduser().absolute()
    try:
        if data.is_dir():
            return read_tree(FolderSource(data), data)
        if not data.exists():
            near = get_close_matches(data.name, [path.name for path in data.parent.glob("*")], n=1)
            guess = f"did you mean {data.parent / near[0]}?" if near else "check the name"
            raise DataError(f"{data} does not exist", hint=guess)
    except PermissionError as error:
        raise DataError(f"no permission to read {data}", hint=f"chmod u+rx {data.parent}") from error
    if is_zip(data):
        return read_tree(ZipSource(data), data)
    if is_tar(data):
        return read_tree(TarSource(data), data)
    if data.suffix.lower() == ".csv":
        return read_csv(data)
    if data.suffix.lower() == ".parquet":
        return read_parquet(data)
    raise DataError(
        f"{data} is nothing that can be read as a data set", hint="name a folder, a zip, a tar, a .csv or a .parquet file"
    )


def _check_classes(listing: Listing) -> None:
    classes = {label for labels in listing.labels for label in labels}
    if len(classes) == 1:
        raise _one_class(listing.root, classes.pop(), "")


def _one_class(root: Path, name: str, why: str) -> DataError:
    return DataError(
        f"{root} holds only one class, {name!r}{why}", hint="a classifier needs at least two: add a folder or label for another"
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """What became of one row's bytes."""

    content: str | None
    facts: ImageFacts
    decoded: bool


def _opened(listing: Listing, facts: Facts, max_pixels: int, observe: Observer, workers: int | None) -> Scanned:
    def open_one(row: int) -> _Opened:
        return _open(listing, row, facts, max_pixels)

    found = ordered(open_one, range(len(listing.names)), workers)
    batches: list[pa.RecordBatch] = []
    rows: list[dict[str, Any]] = []
    decoded = 0
    for row, opened in enumerate(told(found, what="scan", total=len(listing.names), observe=observe)):
        decoded += opened.decoded
        rows.append(_row(listing, row, opened))
        if len(rows) == CHUNK:
            batches.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
            rows = []
    batches.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
    table = pa.Table.from_batches(batches, schema=SCHEMA)
    classes = _classes(table, listing.root)
    return Scanned(Manifest(table, classes, str(listing.root), listing.given_splits), decoded)


def _open(listing: Listing, row: int, facts: Facts, max_pixels: int) -> _Opened:
    try:
        data = listing.source.read(listing.names[row])
    except UnreadableImage as error:
        return _Opened(None, _unreadable(error), decoded=False)
    content = hashlib.sha256(data).hexdigest()
    known = facts.get(content)
    if known is not None and (known.width or 0) * (known.height or 0) <= max_pixels:
        return _Opened(content, known, decoded=False)
    looks = None
    try:
        image, width, height, note = open_rgb(data, at_least=DECODED_SIDE, max_pixels=max_pixels)
    except TooManyPixels as error:
        # Not remembered: it depends on the limit, and reading a header costs nothing.
        return _Opened(content, _unreadable(error), decoded=False)
    except UnreadableImage as error:
        found = _unreadable(error)
    else:
        found = ImageFacts(width, height, perceptual_hash(image), _is_grey(image), note)
        looks = look(image, data, (width, height))
    facts.put(content, found, looks)
    return _Opened(content, found, decoded=True)


def _unreadable(error: UnreadableImage) -> ImageFacts:
    return ImageFacts(None, None, None, None, problem=str(error))


def _is_grey(image: Image.Image) -> bool:
    pixels_HWC = np.asarray(image)
    return bool((pixels_HWC == pixels_HWC[:, :, :1]).all())


def _row(listing: Listing, row: int, opened: _Opened) -> dict[str, Any]:
    name, facts = listing.names[row], opened.facts
    exclusion = facts.problem or None
    set_aside = listing.exclusions[row] if listing.exclusions is not None else None
    if exclusion is None and set_aside is not None and set_aside[0] == opened.content:
        exclusion = set_aside[1]  # someone had a reason for it, and it is still the same image
    labels, split = listing.labels[row], listing.splits[row]
    if not all(_is_text(text) for text in (name, *labels)):
        exclusion = "its name is not valid UTF-8; rename it"
    return {
        "source": _as_text(name),
        "content": opened.content,
        "labels": [_as_text(label) for label in labels],
        "split": split,
        "fold": listing.folds[row] if listing.folds is not None else None,
        "group": listing.groups[row],
        "width": facts.width,
        "height": facts.height,
        "phash": facts.phash,
        "grey": facts.grey,
        "note": facts.note or None,
        "exclusion": exclusion,
    }


def _is_text(name: str) -> bool:
    """Whether a file's name is text: Python keeps bytes that are not UTF-8 as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(name: str) -> str:
    return name if _is_text(name) else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _classes(table: pa.Table, root: Path) -> tuple[str, ...]:
    """All classes that have something like an image, sorted; at least two must have one that can be used."""
    named: set[str] = set()
    used: set[str] = set()
    reasons: dict[str, str] = {}
    for labels, exclusion, source in _labelled(table):
        if exclusion is None:
            used.update(labels)
        if exclusion != NOT_AN_IMAGE:
            named.update(labels)
        if exclusion is not None and len(reasons) < 3:
            reasons[source] = exclusion
    told_reasons = "; ".join(f"{source}: {reason}" for source, reason in reasons.items())
    if not used:
        raise DataError(
            f"none of the {table.num_rows:,} files of {root} can be read as an image ({told_reasons})", hint="see the reasons"
        )
    if len(used) == 1:
        raise _one_class(root, used.pop(), f", whose images can be read ({told_reasons})")
    return tuple(sorted(named))


def _labelled(table: pa.Table) -> Iterator[tuple[Sequence[str], str | None, str]]:
    for batch in table.select(["labels", "exclusion", "source"]).to_batches(max_chunksize=CHUNK):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
