"""Scanning: from the address of a data set to its manifest. Every image is opened once, in threads; nothing is held.

Whoever knows already which pixels a training will want has them kept on the way, so that it need not decode a second time.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from sortal.data.facts import Facts, ImageFacts
from sortal.data.keeping import PixelKeeper
from sortal.data.layout import Listing, read_tree
from sortal.data.looks import look
from sortal.data.parallel import ordered, told
from sortal.data.phash import perceptual_hashes
from sortal.data.sources import FolderSource, TarSource, ZipSource, is_tar, is_zip
from sortal.data.tables import read_csv, read_parquet
from sortal.errors import DataError, UnreadableImage
from sortal.events import Observer, ignore
from sortal.manifest import SCHEMA, Manifest
from sortal.preprocess import MAX_PIXELS, TooManyPixels, open_rgb, same_scale, size_of, squared, stored_pixels

NOT_AN_IMAGE = "not an image"
# At this scale nearly every network's pixels are made from the same decoded picture. What a JPEG costs is reading its bits, so
# that a smaller scale, enough for the perceptual hash, would save a seventh of it.
DECODED_SIDE = 256
GLIMPSED = 16  # images whose headers are read to guess what a training will want
SMALL = 64  # pixels up to which it also matters whether they are grey
TOGETHER, PIXELS_TOGETHER = 64, 64 * 64 * 64  # images, and their pixels, that are opened at a time
CHUNK = 4096  # rows that are held as Python objects before they become columns


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found, and how many images had to be decoded for it; the others were known by their content."""

    manifest: Manifest
    decoded: int


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What a look at a few images tells before all are opened; the rest may turn out to be otherwise."""

    images: int
    training_images: int
    """Of those, the ones that were not put into another split."""
    classes: tuple[str, ...]
    side: float
    """Pixels: the median of the longer side."""
    grey: bool
    """Whether all are small and grey."""


Keep = Callable[[Glimpse], PixelKeeper | None]
"""From a first look to where the pixels of all images are kept, or None."""


def scan(
    data: str | Path,
    *,
    facts: Facts,
    max_pixels: int = MAX_PIXELS,
    keep: Keep = lambda glimpse: None,
    observe: Observer = ignore,
    workers: int | None = None,
) -> Scanned:
    """Read a folder, zip, tar, CSV, Parquet file or manifest into a manifest, one row an image.

    `keep` may name a place for stored pixels: they are made from the same decoding.

    Images that cannot be used become rows with the reason in `exclusion`. Classes are those of the whole set, sorted, never
    those of one split. Splits that are not given stay null; `assign_splits` fills them.

    Raises:
        DataError: for what makes the whole set unusable: it does not exist, holds no images or one class only, its table has
            mistakes. Nothing was done then.
    """
    listing = list_images(Path(data))
    try:
        _check_classes(listing)
        glimpse = _glimpse(listing)
        keeper = keep(glimpse)
        with contextlib.nullcontext() if keeper is None else keeper:
            return _opened(listing, facts, keeper, max_pixels, observe, workers, side=int(glimpse.side))
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


def _glimpse(listing: Listing) -> Glimpse:
    """From the headers of a few images; of a tar the first ones, since it is read from the start on."""
    step = 1 if isinstance(listing.source, TarSource) else max(1, len(listing.names) // GLIMPSED)
    sides, grey = [], True
    for name in listing.names[::step][:GLIMPSED]:
        with contextlib.suppress(UnreadableImage, OSError):
            data = listing.source.read(name)
            side = max(size_of(data))
            sides.append(side)
            grey = grey and side <= SMALL and _is_grey(open_rgb(data)[0])
    return Glimpse(
        images=len(listing.names),
        training_images=sum(split in (None, "train") for split in listing.splits),
        classes=tuple(sorted({label for labels in listing.labels for label in labels})),
        side=median(sides) if sides else 0.0,
        grey=grey,
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """What became of one row's bytes."""

    content: str | None
    facts: ImageFacts
    decoded: bool
    pixels: NDArray[np.uint8] | None = None
    """Where they are kept and were not there yet."""


def _opened(
    listing: Listing,
    facts: Facts,
    keeper: PixelKeeper | None,
    max_pixels: int,
    observe: Observer,
    workers: int | None,
    *,
    side: int,
) -> Scanned:
    """`side` is about how many pixels the longer sides have: small images are opened several at a time."""

    def open_some(rows: range) -> list[_Opened]:
        return _open(listing, rows, facts, keeper, max_pixels)

    count = len(listing.names)
    together = max(1, min(TOGETHER, PIXELS_TOGETHER // max(1, side) ** 2))
    parts = (range(low, min(count, low + together)) for low in range(0, count, together))
    if together == TOGETHER:
        workers = workers or 1  # with so little to decode it is Python that takes the time, and threads would only wait for it
    found = chain.from_iterable(ordered(open_some, parts, workers))
    batches: list[pa.RecordBatch] = []
    rows: list[dict[str, Any]] = []
    decoded = 0
    for row, opened in enumerate(told(found, what="scan", total=count, observe=observe)):
        decoded += opened.decoded
        if keeper is not None and opened.pixels is not None and opened.content is not None:
            keeper.put(opened.content, opened.pixels)
        rows.append(_row(listing, row, opened))
        if len(rows) == CHUNK:
            batches.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
            rows = []
    batches.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
    table = pa.Table.from_batches(batches, schema=SCHEMA)
    classes = _classes(table, listing.root)
    return Scanned(Manifest(table, classes, str(listing.root), listing.given_splits), decoded)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image that was decoded for the first time."""

    content: str
    data: bytes
    image: Image.Image
    size: tuple[int, int]
    """Full width and height in pixels."""
    note: str
    pixels: NDArray[np.uint8] | None


def _open(listing: Listing, rows: Sequence[int], facts: Facts, keeper: PixelKeeper | None, max_pixels: int) -> list[_Opened]:
    """What became of each row; those that are new are measured together."""
    read = [_read(listing, row) for row in rows]
    contents = [None if isinstance(data, ImageFacts) else hashlib.sha256(data).hexdigest() for data in read]
    known = dict(zip(there := [each for each in contents if each is not None], facts.get(there), strict=True))
    opened: list[_Opened | _Seen] = []
    for content, data in zip(contents, read, strict=True):
        if isinstance(data, ImageFacts) or content is None:
            assert isinstance(data, ImageFacts)
            opened.append(_Opened(None, data, decoded=False))
        else:
            opened.append(_open_one(content, data, known[content], facts, keeper, max_pixels))
    new = _measure([each for each in opened if isinstance(each, _Seen)], facts)
    return [next(new) if isinstance(each, _Seen) else each for each in opened]


def _read(listing: Listing, row: int) -> bytes | ImageFacts:
    try:
        return listing.source.read(listing.names[row])
    except UnreadableImage as error:
        return _unreadable(error)


def _open_one(
    content: str, data: bytes, known: ImageFacts | None, facts: Facts, keeper: PixelKeeper | None, max_pixels: int
) -> _Opened | _Seen:
    wanted = keeper if keeper is not None and keeper.wants(content) else None
    if known is not None and (known.width or 0) * (known.height or 0) <= max_pixels:
        if wanted is None or known.problem:
            return _Opened(content, known, decoded=False)
        return _Opened(content, known, decoded=True, pixels=stored_pixels(data, wanted.preprocess))
    try:
        image, width, height, note = open_rgb(data, at_least=DECODED_SIDE, max_pixels=max_pixels)
        pixels = None if wanted is None else _pixels(data, image, (width, height), wanted)
        return _Seen(content, data, image, (width, height), note, pixels)
    except TooManyPixels as error:
        # Not remembered: it depends on the limit, and reading a header costs nothing.
        return _Opened(content, _unreadable(error), decoded=False)
    except UnreadableImage as error:
        found = _unreadable(error)
    facts.put(content, found)
    return _Opened(content, found, decoded=True)


def _measure(new: Sequence[_Seen], facts: Facts) -> Iterator[_Opened]:
    """What is to be remembered about new images, in their order."""
    images = [each.image for each in new]
    hashes = perceptual_hashes(images)
    looks = look(images, [each.data for each in new], [each.size for each in new])
    for each, phash, looked in zip(new, hashes, looks, strict=True):
        found = ImageFacts(*each.size, phash, _is_grey(each.image), each.note)
        facts.put(each.content, found, looked)
        yield _Opened(each.content, found, decoded=True, pixels=each.pixels)


def _pixels(data: bytes, image: Image.Image, size: tuple[int, int], keeper: PixelKeeper) -> NDArray[np.uint8]:
    """Stored pixels, from the picture that is decoded already if they are made from one of that scale."""
    if same_scale(data, *size, DECODED_SIDE, keeper.preprocess.resize):
        return squared(image, keeper.preprocess)
    return stored_pixels(data, keeper.preprocess)


def _unreadable(error: UnreadableImage) -> ImageFacts:
    return ImageFacts(None, None, None, None, problem=str(error))


def _is_grey(image: Image.Image) -> bool:
    """Whether red, green and blue are equal everywhere; most pictures show at a few places that they are not."""
    return all(_has_equal_channels(each) for each in (image.resize((8, 8), Image.Resampling.NEAREST), image))


def _has_equal_channels(image: Image.Image) -> bool:
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
        "about": None if listing.about is None else _pairs(listing.about[row]),
    }


def _pairs(about: Mapping[str, str] | None) -> list[tuple[str, str]] | None:
    return list(about.items()) if about else None


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
