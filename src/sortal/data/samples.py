"""Samples: what a session trains on. Labels, keys and splits by row, and inputs that are pixels or stored features."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Pixels(Protocol):
    """Stored pixels by row; from memory, from a store on the disk, or decoded on the fly where the store is too small."""

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels of shape (B, R, R, C)."""


class Features(Protocol):
    """Outputs of the frozen part of a network by row, for the evaluation view and for augmented ones of training rows."""

    @property
    def count(self) -> int:
        """V, how many augmented views there are of each training row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one output: (D,) for vectors, (C, H, W) for maps, others for transformers."""

    def plain(self, rows_B: NDArray[np.int64]) -> NDArray[np.float32]:
        """Outputs of the evaluation view, shape (B, *shape)."""

    def views(self, rows_B: NDArray[np.int64], view_B: NDArray[np.int64]) -> NDArray[np.float32]:
        """Outputs of one augmented view each, shape (B, *shape)."""


@dataclass(frozen=True, slots=True)
class HeldFeatures:
    """Features in memory: `plain_ND` of the evaluation view of N rows, `views_MVD` of V augmented views of M rows; D may be
    several axes.

    Rows that are never trained on have no views: `views_MVD` is indexed by `view_rows_N[row]`, which is -1 for them.
    """

    plain_ND: NDArray[np.float32]
    views_MVD: NDArray[np.float32]
    view_rows_N: NDArray[np.int64]

    @property
    def count(self) -> int:
        return int(self.views_MVD.shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.plain_ND.shape[1:]

    def plain(self, rows_B: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.plain_ND[rows_B]

    def views(self, rows_B: NDArray[np.int64], view_B: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.views_MVD[self.view_rows_N[rows_B], view_B]


@dataclass(frozen=True)
class Samples:
    """N rows: labels and key (content hash) of each, the rows of each split, and the inputs."""

    classes: tuple[str, ...]
    labels_N: NDArray[np.int64]
    """Class indices; of several labels an image 0 and 1 of shape (N, K)."""
    keys_N: NDArray[np.uint64]
    splits: Mapping[str, NDArray[np.int64]]
    pixels: Pixels
    features: Features | None = None

    def with_splits(self, **splits: NDArray[np.int64]) -> "Samples":
        """The same samples, divided otherwise; cross-validation does so once a fold."""
        return replace(self, splits=splits)
