"""Novelty: how far an image is from the images that a model knows, by the features that its head decides on.

The distance is one minus the cosine similarity to the k-th nearest of the remembered images (Sun et al. 2022, with a small
part of the images, which is as good in their experiments). Where it stands among the distances of familiar images says what it
means.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.decision import QUANTILES, Novelty

NUMBERS = 500_000
"""Numbers that are remembered, 2 MB in the graph: 390 images of 1,280 features."""
MOST, FEWEST = 1000, 20
"""Images that are remembered; of fewer than the lower one nothing can be said."""
TINY = 1e-12
"""The least length of a feature vector: one of zeros has no direction."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The directions of B remembered images' features, shape (B, D), and which neighbour counts."""

    unit_BD: NDArray[np.float32]
    neighbours: int

    def distances(self, features_ND: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """How far each image is from what is remembered, 0..2, float32 of shape (N,)."""
        alike_NB = _unit(features_ND) @ self.unit_BD.T
        return np.asarray(1 - np.sort(alike_NB, axis=1)[:, -self.neighbours])

    def described(self) -> Novelty:
        """What a distance means: each remembered image's own distance, as if it were not remembered itself."""
        alike_BB = self.unit_BD @ self.unit_BD.T
        np.fill_diagonal(alike_BB, -np.inf)
        distances_B = 1 - np.sort(alike_BB, axis=1)[:, -self.neighbours]
        found_Q = np.quantile(np.maximum(distances_B, 0.0).astype(np.float64), np.linspace(0, 1, QUANTILES))
        return Novelty(tuple(np.maximum.accumulate(found_Q).tolist()), self.neighbours, len(self.unit_BD))


def room(dimensions: int) -> int:
    """How many images of so many features are remembered at most."""
    return min(MOST, NUMBERS // dimensions)


def remembered(features_ND: NDArray[np.floating[Any]]) -> Memory | None:
    """A memory of these images, all or as many as there is room for, spread evenly; None where there are too few.

    The images must be as strange to the network as new ones are: it may not have learnt its features from them.
    """
    most = room(features_ND.shape[1])
    if min(len(features_ND), most) < FEWEST:
        return None
    rows = np.linspace(0, len(features_ND) - 1, min(len(features_ND), most)).astype(np.int64)
    return Memory(_unit(features_ND[rows]), neighbours=max(1, min(10, len(rows) // 50)))


def _unit(features_ND: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    features_ND = np.asarray(features_ND, dtype=np.float32)
    return np.asarray(features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), TINY), dtype=np.float32)
