"""Samples: what a session trains on. Labels, keys and splits by row, and inputs that are pixels or stored features."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Pixels(Protocol):
    """Stored pixels by row; from memory, from a memory-mapped store, or decoded on the fly where the store is too small."""

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels of shape (B, R, R, C)."""


@dataclass(frozen=True, slots=True)
class Features:
    """Outputs of a frozen network: `plain_ND` of the evaluation view of N rows, `views_MVD` of V augmented views of M rows.

    Rows that are never trained on have no views: `views_MVD` is indexed by `view_rows_N[row]`, which is -1 for them.
    """

    plain_ND: NDArray[np.float32]
    views_MVD: NDArray[np.float32]
    view_rows_N: NDArray[np.int64]


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
