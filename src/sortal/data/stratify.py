"""Sides for images of several labels: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), by whole units.

The rarest label goes first, as it has the least room: each unit that has it goes to the side that lacks most of its share of
that label, then comes the label that is rarest among the units that are left, and so on. Units without labels fill up what is
lacking in all. No share is met exactly: a unit counts for all its labels at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.data.order import NEW, mixed

CLOSE = 1e-9


def assign_several(
    units_N: NDArray[np.int64],
    labels_NK: NDArray[np.int64],
    keys_N: NDArray[np.uint64],
    kept_N: NDArray[np.int64],
    shares_S: NDArray[np.float64],
    *,
    seed: int,
    first: int | None = None,
) -> NDArray[np.int64]:
    """A side, 0 to S - 1, for each of N rows, as `split.assign` gives them for one label a row.

    Rows that have a side in `kept_N` keep it; rows kept on a side without a share count for nobody. `first`: the side that gets
    a unit of each label that it has none of. The order of the rows does not matter.
    """
    sides_N = kept_N.copy()
    new = np.flatnonzero(kept_N == NEW)
    if not len(new):
        return sides_N
    found = _new_units(units_N[new], labels_NK[new], keys_N[new], seed)
    old = np.flatnonzero((kept_N != NEW) & (shares_S > 0)[kept_N])
    # One more label that every row has: the images in all.
    all_NL, all_UL = _with_total(labels_NK, np.ones(len(labels_NK), np.int64)), _with_total(found.counts_UK, found.sizes_U)
    here_SL = np.zeros((len(shares_S), all_NL.shape[1]))
    np.add.at(here_SL, kept_N[old], all_NL[old])
    lacking_SL = shares_S[:, None] * (here_SL.sum(axis=0) + all_UL.sum(axis=0)) - here_SL
    lacking_SL[shares_S <= 0] = -np.inf
    filling = _Filling(all_UL, lacking_SL, np.full(len(all_UL), NEW, np.int64))
    if first is not None:
        filling.begin(first, missing_K=here_SL[first, :-1] == 0)
    filling.finish()
    sides_N[new] = filling.sides_U[found.unit_of_row_M]
    return sides_N


@dataclass
class _Filling:
    """Units that get their sides one by one; the last column of each array is the images in all."""

    counts_UL: NDArray[np.int64]
    lacking_SL: NDArray[np.float64]
    sides_U: NDArray[np.int64]

    def begin(self, first: int, *, missing_K: NDArray[np.bool_]) -> None:
        """Give `first` a unit of every label that is missing there, the rarest label first."""
        units_K = (self.counts_UL[:, :-1] > 0).sum(axis=0)
        for label in np.argsort(units_K, kind="stable").tolist():
            of_label = np.flatnonzero(self.counts_UL[:, label])
            if missing_K[label] and len(of_label) and not (self.sides_U[of_label] == first).any():
                self._put(int(of_label[0]), first)

    def finish(self) -> None:
        """Give every unit that is left its side."""
        while True:
            left = self.sides_U == NEW
            units_K = (self.counts_UL[left, :-1] > 0).sum(axis=0)
            if not units_K.any():
                break
            label = int(np.argmin(np.where(units_K > 0, units_K, len(left) + 1)))
            for unit in np.flatnonzero(left & (self.counts_UL[:, label] > 0)).tolist():
                self._put(unit, self._neediest(label))
        for unit in np.flatnonzero(self.sides_U == NEW).tolist():
            self._put(unit, self._neediest(-1))

    def _neediest(self, label: int) -> int:
        """The side that lacks most of a label; of equal ones that which lacks most images, then the first."""
        lacking_S = self.lacking_SL[:, label]
        equal = np.flatnonzero(lacking_S >= lacking_S.max() - CLOSE)
        in_all = self.lacking_SL[equal, -1]
        return int(equal[np.flatnonzero(in_all >= in_all.max() - CLOSE)[0]])

    def _put(self, unit: int, side: int) -> None:
        self.sides_U[unit] = side
        self.lacking_SL[side] -= self.counts_UL[unit]


@dataclass(frozen=True, slots=True)
class _Units:
    """U units in the order in which they are assigned: the largest first, then by hash."""

    counts_UK: NDArray[np.int64]
    sizes_U: NDArray[np.int64]
    unit_of_row_M: NDArray[np.int64]


def _new_units(units_M: NDArray[np.int64], labels_MK: NDArray[np.int64], keys_M: NDArray[np.uint64], seed: int) -> _Units:
    _, unit_M, sizes_U = np.unique(units_M, return_inverse=True, return_counts=True)
    counts_UK = np.zeros((len(sizes_U), labels_MK.shape[1]), np.int64)
    np.add.at(counts_UK, unit_M, labels_MK)
    key_U = np.full(len(sizes_U), np.iinfo(np.uint64).max)
    np.minimum.at(key_U, unit_M, keys_M)
    order = np.lexsort((key_U, mixed(key_U, seed), -sizes_U))
    place_U = np.empty(len(sizes_U), np.int64)
    place_U[order] = np.arange(len(sizes_U))
    return _Units(counts_UK[order], sizes_U[order], place_U[unit_M])


def _with_total(counts_XK: NDArray[np.int64], sizes_X: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([counts_XK, sizes_X[:, None]], axis=1)
