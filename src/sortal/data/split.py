"""Splits and folds: who trains, who judges. Copies and groups stay on one side, and what was once assigned stays.

Both are one problem, solved by `assign`: units (all that must stay together) go one by one, in an order that depends on their
content and the seed alone, to the side that lacks most of its share of their class. Images of several labels or none are
`stratify`'s, under the same laws, but for shares, which can only be met nearly there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sortal.data.order import NEW, mixed
from sortal.data.stratify import assign_several
from sortal.errors import DataError
from sortal.manifest import SPLITS, Manifest

TRAIN = SPLITS.index("train")
NONE = np.iinfo(np.int64).max


def assign_splits(
    manifest: Manifest, *, val: float, test: float, seed: int, previous: Mapping[str, str] | None = None
) -> Manifest:
    """Give every image in use a split, stratified by class; each share is met within one unit in every class.

    What the user gave stays: beside a given validation split no other is carved, and a test split that is missing is carved
    from training images. Images that are copies, or share a group, of one that has its split join it there; given training
    images stay where they are. A class with one unit trains. Where a new image links two that were assigned to different
    sides before, they all train: what a model was trained on must never judge it.

    Args:
        manifest: as scanned; rows that are set aside keep what they have.
        val: share of the images, 0 to below 1, that judges choices; used where no validation split is given.
        test: share that judges the result; used where no test split is given. Together below 1.
        seed: of the order.
        previous: content hash to split, as assigned before; it is kept, and only other images fill what is lacking.
    """
    given = set(manifest.given_splits)
    wanted = {"val": 0.0 if "val" in given else val, "test": 0.0 if "test" in given else test}
    shares_S = np.array([1 - sum(wanted.values()), wanted["val"], wanted["test"]])
    used = manifest.used
    units_N = units(used)
    now_N = _sides(used.column("split"))
    # Given training images may be carved for a split that is missing. Everything else that has a split keeps it.
    may_move_N = (now_N == TRAIN) & bool("train" in given and shares_S[1:].any())
    fixed_N = np.where(may_move_N, NEW, now_N)
    joined_N = _least_of_unit(units_N, fixed_N)
    before_N = _least_of_unit(units_N, _before(used, {name: SPLITS.index(name) for name in SPLITS}, previous))
    kept_N = np.where(joined_N == NEW, before_N, np.where(may_move_N, TRAIN, joined_N))
    kept_N = np.where(fixed_N == NEW, kept_N, fixed_N)
    sides_N = _assigned(used, units_N, kept_N, shares_S, seed=seed, first=TRAIN)
    return _with_used(manifest, "split", [SPLITS[side] for side in sides_N.tolist()])


def assign_folds(manifest: Manifest, folds: int, *, seed: int, previous: Mapping[str, str] | None = None) -> Manifest:
    """Divide the training images in use into folds of equal size, stratified by class; 0 folds removes what there is.

    A class with one unit gets no fold: held out, nobody would have learnt it. Its images train whoever is judged.

    Args:
        manifest: with its splits assigned; rows outside the training split get no fold. Folds that it gives are kept.
        folds: how many, 0 or 2 to 50.
        seed: of the order.
        previous: content hash to fold (as text), as assigned before; it is kept where the manifest gives none.

    Raises:
        DataError: where there are fewer units (images that are no copies and share no group) than folds.
    """
    used = manifest.used
    if not folds:
        return _with_used(manifest, "fold", [None] * len(used))
    train = np.flatnonzero(_sides(used.column("split")) == TRAIN)
    train = train[can_be_held_out(used.take(train))]
    rows = used.take(train)
    units_N = units(rows)
    found = len(np.unique(units_N))
    if found < folds:
        raise DataError(
            f"{found:,} independent training images of {manifest.root} cannot make {folds} folds "
            "(copies and groups count once, the only image of a class not at all)",
            hint="add images, or lower split.folds" if found > 1 else "add images",
        )
    names = {str(fold): fold for fold in range(folds)}
    given_N = np.array([NEW if fold is None or fold >= folds else fold for fold in rows.column("fold")], dtype=np.int64)
    before_N = _before(rows, names, previous)
    kept_N = _least_of_unit(units_N, np.where(given_N == NEW, before_N, given_N))
    sides_N = _assigned(rows, units_N, kept_N, np.full(folds, 1 / folds), seed=seed)
    values: list[int | None] = [None] * len(used)
    for row, side in zip(train.tolist(), sides_N.tolist(), strict=True):
        values[row] = side
    return _with_used(manifest, "fold", values)


def can_be_held_out(manifest: Manifest) -> NDArray[np.bool_]:
    """Which rows, shape (N,), may be judged while the others train: all but those in a unit that is all there is of a class."""
    units_N, (rows_P, labels_P) = units(manifest), manifest.label_pairs_2P
    pairs_2P = np.unique(np.stack([labels_P, units_N[rows_P]]), axis=1)
    only_P = np.bincount(pairs_2P[0], minlength=len(manifest.classes))[pairs_2P[0]] == 1
    return np.asarray(~np.isin(units_N, pairs_2P[1][only_P]))


def remembered(manifest: Manifest, column: str) -> dict[str, str]:
    """Content hash to 'split' or 'fold' of every image that has one: what to give as `previous` next time."""
    used = manifest.used
    pairs = zip(used.column("content"), used.column(column), strict=True)
    return {content: str(side) for content, side in pairs if side is not None}


def units(manifest: Manifest) -> NDArray[np.int64]:
    """What must stay together, shape (N,): equal numbers for rows that equal contents or groups connect, over any chain.

    Connected components by spreading the smallest number and shortening the way to it (Shiloach and Vishkin 1982, in spirit).
    """
    count = len(manifest)
    content_N = _codes(manifest.table["content"])
    group_N = _codes(manifest.table["group"])
    grouped = np.flatnonzero(group_N >= 0)
    units_N = _least(content_N, np.arange(count), count)[content_N]
    if not len(grouped):
        return units_N
    while True:
        spread_N = units_N.copy()
        spread_N[grouped] = _least(group_N[grouped], spread_N[grouped], count)[group_N[grouped]]
        spread_N = _least(content_N, spread_N, count)[content_N]
        spread_N = spread_N[spread_N]
        if np.array_equal(spread_N, units_N):
            return units_N
        units_N = spread_N


def _assigned(
    manifest: Manifest,
    units_N: NDArray[np.int64],
    kept_N: NDArray[np.int64],
    shares_S: NDArray[np.float64],
    *,
    seed: int,
    first: int | None = None,
) -> NDArray[np.int64]:
    if manifest.task == "multi_label":
        return assign_several(units_N, manifest.labels_NK, manifest.keys_N, kept_N, shares_S, seed=seed, first=first)
    return assign(units_N, manifest.labels_N, manifest.keys_N, kept_N, shares_S, seed=seed, first=first)


def assign(
    units_N: NDArray[np.int64],
    labels_N: NDArray[np.int64],
    keys_N: NDArray[np.uint64],
    kept_N: NDArray[np.int64],
    shares_S: NDArray[np.float64],
    *,
    seed: int,
    first: int | None = None,
) -> NDArray[np.int64]:
    """A side, 0 to S - 1, for each of N rows; rows that have one in `kept_N` keep it, and whole new units join them.

    In each class every side's share is met within one unit; what must be rounded is rounded so that the sides' totals over
    all classes are met too. Rows kept on a side without a share count for nobody. `first`: the side that gets a class's first
    unit where it has none of the class. The order of the rows does not matter.
    """
    sides_N = kept_N.copy()
    new = np.flatnonzero(kept_N == NEW)
    if not len(new):
        return sides_N
    found = _new_units(units_N[new], labels_N[new], keys_N[new], seed)
    classes = int(labels_N.max()) + 1
    counts_KS = np.zeros((classes, len(shares_S)))
    old = np.flatnonzero((kept_N != NEW) & (shares_S > 0)[kept_N])
    np.add.at(counts_KS, (labels_N[old], kept_N[old]), 1)
    totals_K = counts_KS.sum(axis=1) + np.bincount(found.labels_U, weights=found.sizes_U, minlength=classes)

    unit_sides_U = np.empty(len(found.labels_U), np.int64)
    running_S = np.zeros(len(shares_S))  # what each side lacks over the classes done so far
    starts = np.flatnonzero(np.diff(found.labels_U, prepend=-1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(unit_sides_U)], strict=True):
        label = found.labels_U[start]
        lacking_S = shares_S * totals_K[label] - counts_KS[label]
        running_S += lacking_S
        needs_first = first if first is not None and not counts_KS[label, first] else None
        unit_sides_U[start:stop] = _fill(lacking_S, running_S, found.sizes_U[start:stop].tolist(), needs_first)
    sides_N[new] = unit_sides_U[found.unit_of_row_M]
    return sides_N


def _fill(lacking_S: NDArray[np.float64], running_S: NDArray[np.float64], sizes: Sequence[int], first: int | None) -> list[int]:
    """The sides of one class's units, in order. Takes what was given from `running_S`."""
    lacking = lacking_S.tolist()
    running = running_S.tolist()
    sides: list[int] = []
    if first is not None:
        sides.append(first)
        lacking[first] -= sizes[0]
        running[first] -= sizes[0]
    # The side that lacks most is next, as long as one lacks a whole image. A heap, because folds may be many.
    heap = [(-lack, -run, side) for side, (lack, run) in enumerate(zip(lacking, running, strict=True))]
    heapify(heap)
    while len(sides) < len(sizes) and heap[0][0] <= -1 + 1e-9:
        lack, run, side = heap[0]
        size = sizes[len(sides)]
        heapreplace(heap, (lack + size, run + size, side))
        sides.append(side)
    for lack, run, side in heap:
        lacking[side], running[side] = -lack, -run
    # Now every side lacks less than one: whoever lacks a part of one may round up, and the totals say who does.
    for size in sizes[len(sides) :]:
        side = max(range(len(lacking)), key=lambda side: (lacking[side] > 1e-9, running[side], -side))
        lacking[side] -= size
        running[side] -= size
        sides.append(side)
    running_S[:] = running
    return sides


@dataclass(frozen=True, slots=True)
class _Units:
    """U units in the order in which they are assigned: by class, the largest first, then by hash."""

    labels_U: NDArray[np.int64]
    sizes_U: NDArray[np.int64]
    unit_of_row_M: NDArray[np.int64]
    """For each of the M rows, its unit's place in this order."""


def _new_units(units_M: NDArray[np.int64], labels_M: NDArray[np.int64], keys_M: NDArray[np.uint64], seed: int) -> _Units:
    _, unit_M, sizes_U = np.unique(units_M, return_inverse=True, return_counts=True)
    count = len(sizes_U)
    key_U = np.full(count, np.iinfo(np.uint64).max)
    np.minimum.at(key_U, unit_M, keys_M)
    # A unit with images of several classes counts for the class of most of them.
    pairs, votes = np.unique(unit_M * (int(labels_M.max()) + 1) + labels_M, return_counts=True)
    voter, voted = np.divmod(pairs, int(labels_M.max()) + 1)
    ranked = np.lexsort((voted, -votes, voter))
    labels_U = voted[ranked][np.flatnonzero(np.diff(voter[ranked], prepend=-1))]
    order = np.lexsort((key_U, mixed(key_U, seed), -sizes_U, labels_U))
    place_U = np.empty(count, np.int64)
    place_U[order] = np.arange(count)
    return _Units(labels_U[order], sizes_U[order], place_U[unit_M])


def _codes(column: Any) -> NDArray[np.int64]:
    """Equal values of an Arrow column as equal numbers, from 0; null as -1."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    indices = encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0).indices
    return np.asarray(indices.fill_null(NEW).to_numpy(zero_copy_only=False), dtype=np.int64)


def _least(codes_N: NDArray[np.int64], values_N: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The smallest value of each code below `count`; `NONE` for codes that do not occur."""
    least = np.full(count, NONE, np.int64)
    np.minimum.at(least, codes_N, values_N)
    return least


def _least_of_unit(units_N: NDArray[np.int64], sides_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row the smallest side that a row of its unit has (training before the judges), or NEW."""
    least_N = _least(units_N, np.where(sides_N == NEW, NONE, sides_N), len(units_N))[units_N]
    return np.where(least_N == NONE, NEW, least_N)


def _sides(splits: Sequence[str | None]) -> NDArray[np.int64]:
    numbers = {name: number for number, name in enumerate(SPLITS)}
    return np.array([NEW if split is None else numbers[split] for split in splits], dtype=np.int64)


def _before(manifest: Manifest, numbers: Mapping[str, int], previous: Mapping[str, str] | None) -> NDArray[np.int64]:
    before = previous or {}
    return np.array([numbers.get(before.get(content, ""), NEW) for content in manifest.column("content")], dtype=np.int64)


def _with_used(manifest: Manifest, column: str, values: Sequence[Any]) -> Manifest:
    """The whole manifest with one column changed where rows are in use."""
    all_values = manifest.column(column)
    used = np.flatnonzero(np.array([reason is None for reason in manifest.column("exclusion")], dtype=bool))
    for row, value in zip(used.tolist(), values, strict=True):
        all_values[row] = value
    return manifest.with_column(column, all_values)
