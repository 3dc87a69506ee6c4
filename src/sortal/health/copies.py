"""Copies: the same picture more than once; within a split it weighs double, across splits it is a leak.

Byte-identical files are told by their content hash and are certain; so are identical pixels in different files. Near copies
(saved again, resized, brightened) are told by their perceptual hash and are all but certain for pictures of `SMALLEST` pixels
and more; where features of the pictures are at hand they are told by those and proved by pixels (`twins`), cut and mirrored
ones too, and then of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.finding import Finding, Kind, Severity, counted, some
from sortal.health.near import chains, near_groups

SMALLEST = 64
"""Pixels. A perceptual hash sees a reduction to 32 x 32; a smaller picture has little besides that could differ."""

Groups = list[NDArray[np.int64]]
"""Rows of the same picture, two or more in each."""


@dataclass(frozen=True, slots=True)
class Images:
    """The columns that copies are told by; N rows, all of images in use."""

    sources: Sequence[str]
    contents: Sequence[str | None]
    labels: Sequence[tuple[str, ...]]
    splits: Sequence[str | None]
    phashes: Sequence[int | None]
    sides: Sequence[int | None]
    """The shorter of width and height, in pixels."""
    pixels: Sequence[bytes | None] = ()
    """What is equal for equal pixels; empty where nobody looked."""


@dataclass(frozen=True, slots=True)
class Found:
    """Groups of rows: equal bytes; equal pixels in different files; near copies. Each of the last two has one row for all that
    the groups before it told already."""

    bytes: Groups
    pixels: Groups
    near: Groups
    proved: bool = False
    """Whether the pixels of near copies were compared."""

    @property
    def all(self) -> Groups:
        return [*self.bytes, *self.pixels, *self.near]


def find(images: Images, twins_N: NDArray[np.int64] | None = None, *, proved: bool = True) -> Found:
    """All groups of copies.

    `twins_N` numbers near copies, from features, `proved` by their pixels unless told otherwise; None where the perceptual hash
    has to do.
    """
    contents_N = _numbered(images.contents)
    pixels_N = contents_N
    if images.pixels:
        # A number of its own where nobody looked, but the same for the same bytes.
        pixels_N = _joined(contents_N, _numbered(images.pixels))
    same_pixels = [_first_of_each(rows, contents_N) for rows in _equal(pixels_N)]
    near = _near(images, pixels_N) if twins_N is None else _equal(_joined(pixels_N, twins_N))
    groups = [np.sort(_first_of_each(rows, pixels_N)) for rows in near]
    return Found(_equal(contents_N), _several(same_pixels), _several(groups), proved=proved and twins_N is not None)


def told(images: Images, found: Found) -> list[Finding]:
    """Findings about copies: within a split, across splits, under different labels.

    Across splits or under different labels they are severe; near copies of small pictures whose pixels nobody compared, which
    chance can explain, are a warning there. Within a split byte-identical ones are a warning, near ones a note.
    """
    near = found.near
    by_hash = f"nearly the same (as far as a hash of pictures below {SMALLEST} pixels can tell)"
    sure = [found.proved or min(images.sides[row] or 0 for row in rows) >= SMALLEST for rows in near]
    return [
        *_told(images, found.bytes, "byte for byte the same", severe="severe", within="warning"),
        *_told(images, found.pixels, "pixel for pixel the same", severe="severe", within="warning"),
        *_told(images, _where(near, sure), "nearly the same", severe="severe", within="note"),
        *_told(images, _where(near, [not is_sure for is_sure in sure]), by_hash, severe="warning", within="note"),
    ]  # fmt: skip


def copies(images: Images) -> list[Finding]:
    """`told` of what can be found without features."""
    return told(images, find(images))


def together(images: Images, found: Found) -> NDArray[np.int64]:
    """For each row the smallest row of all that show the same picture, itself where there is none, shape (N,)."""
    pairs = [np.column_stack([rows[:-1], rows[1:]]) for rows in found.all]
    return chains(len(images.sources), np.concatenate([np.empty((0, 2), np.int64), *pairs]))


def equal_rows(values: Sequence[object]) -> Groups:
    """Rows of equal value, two or more in each; a missing value equals no other."""
    return _equal(_numbered(values))


def _told(images: Images, groups: Groups, how: str, *, severe: Severity, within: Severity) -> list[Finding]:
    """The findings about some groups of copies: at most one of each kind."""
    leaks = [rows for rows in groups if _differ(rows, images.splits)]
    quarrels = [rows for rows in groups if _differ(rows, images.labels)]
    labels = [", ".join(each) for each in images.labels]
    return [
        *_finding("copies-across-splits", severe, leaks, f"in more than one split, {how}", images, images.splits,
                  "keep each picture in one split: a score on pictures that were trained on is too good"),
        *_finding("copies-with-other-label", severe, quarrels, f"under different labels, {how}", images, labels,
                  "keep the copy with the right label and remove the others"),
        *_finding("copies", within, _agreeing(groups, images), f"more than once with the same label, {how}", images, None,
                  "remove the copies, unless they are meant to weigh more"),
    ]  # fmt: skip


def _finding(
    kind: Kind, severity: Severity, groups: Groups, what: str, images: Images, tags: Sequence[str | None] | None, cure: str
) -> list[Finding]:
    """One finding about all the groups, or none where there are none."""
    if not groups:
        return []
    named = some([_named(images, rows, tags) for rows in groups])
    sources = tuple(images.sources[row] for rows in groups for row in rows)
    detail = f"{counted(len(groups), 'picture')} found {what}: {named}"
    return [
        Finding(
            kind, severity, sources, detail, cure, groups=tuple(tuple(images.sources[row] for row in rows) for rows in groups)
        )
    ]


def _numbered(values: Sequence[object]) -> NDArray[np.int64]:
    """A number for each value, equal for equal values; a missing value equals no other."""
    first: dict[object, int] = {}
    numbers = (row if value is None else first.setdefault(value, row) for row, value in enumerate(values))
    return np.fromiter(numbers, np.int64, len(values))


def _equal(numbers_N: NDArray[np.int64]) -> Groups:
    """Rows of equal number, in order of their first row."""
    if not len(numbers_N):
        return []
    order = np.argsort(numbers_N, kind="stable")
    return [rows for rows in np.split(order, np.flatnonzero(np.diff(numbers_N[order])) + 1) if len(rows) > 1]


def _near(images: Images, pixels_N: NDArray[np.int64]) -> Groups:
    """Near copies by their perceptual hash alone."""
    rows_M = np.array([row for row, phash in enumerate(images.phashes) if phash is not None], dtype=np.int64)
    phashes_M = np.array([images.phashes[row] for row in rows_M], dtype=np.uint64)
    return [rows_M[rows] for rows in near_groups(phashes_M, pixels_N[rows_M])]


def _first_of_each(rows: NDArray[np.int64], numbers_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the rows, the first of each number: what is byte-identical has been told already."""
    return rows[np.sort(np.unique(numbers_N[rows], return_index=True)[1])]


def _several(groups: Groups) -> Groups:
    return [rows for rows in groups if len(rows) > 1]


def _joined(one_N: NDArray[np.int64], other_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers that are equal for rows that either of two numberings joins, over any chain."""
    count = len(one_N)
    pairs = [np.column_stack([rows[:-1], rows[1:]]) for numbers in (one_N, other_N) for rows in _equal(numbers)]
    return chains(count, np.concatenate([np.empty((0, 2), np.int64), *pairs]))


def _where(groups: Groups, wanted: Sequence[bool]) -> Groups:
    return [rows for rows, is_wanted in zip(groups, wanted, strict=True) if is_wanted]


def _differ(rows: NDArray[np.int64], values: Sequence[object]) -> bool:
    """Whether two of the rows have different values; a missing one differs from nothing."""
    return len({values[row] for row in rows} - {None}) > 1


def _agreeing(groups: Groups, images: Images) -> Groups:
    """The parts of groups that stand in the same split under the same label."""
    parts: dict[object, list[int]] = {}
    for number, rows in enumerate(groups):
        for row in rows.tolist():
            parts.setdefault((number, images.splits[row], images.labels[row]), []).append(row)
    return [np.array(part, dtype=np.int64) for part in parts.values() if len(part) > 1]


def _named(images: Images, rows: NDArray[np.int64], tags: Sequence[str | None] | None) -> str:
    """'a.jpg = b.jpg', with what they differ in behind each name, the differing ones first."""
    if tags is None:
        named = [images.sources[row] for row in rows]
    else:
        first = {tags[row]: row for row in reversed(rows.tolist()) if tags[row] is not None}
        named = [f"{images.sources[row]} ({tag})" for tag, row in sorted(first.items(), key=lambda item: item[1])]
    more = len(rows) - len(named[:3])
    return " = ".join(named[:3]) + (f" and {more:,} more" if more else "")
