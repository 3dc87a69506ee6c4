"""Neighbours: the images whose features are nearest, by an index of approximate neighbours and never by comparing all pairs.

Features are first turned to their main axes and whitened: what all images of a set have in common says nothing of two of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.errors import MissingExtra

Floats = NDArray[np.float32]

AXES = 256
FLOOR = 1e-3
"""Of the largest variance, added to each before whitening: the smallest axes are noise."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The main axes of some features: `main` turns, `white` also whitens and gives vectors of length 1."""

    mean_D: Floats
    axes_DA: Floats
    variances_A: Floats

    def main(self, features_ND: NDArray[np.floating], count: int) -> Floats:
        """The first `count` coordinates, shape (N, count)."""
        return np.asarray((features_ND.astype(np.float32) - self.mean_D) @ self.axes_DA[:, :count], dtype=np.float32)

    def white(self, features_ND: NDArray[np.floating]) -> Floats:
        """Shape (N, A), A at most `AXES`: a product of two rows is their likeness, -1 to 1."""
        count = min(AXES, self.axes_DA.shape[1])
        scale_A = 1 / np.sqrt(self.variances_A[:count] + FLOOR * self.variances_A[0] + 1e-12)
        found_NA = self.main(features_ND, count) * scale_A
        lengths_N = np.linalg.norm(found_NA, axis=1, keepdims=True)
        return np.asarray(found_NA / np.maximum(lengths_N, 1e-12), dtype=np.float32)


def axes_of(parts: Iterable[NDArray[np.floating]], count: int) -> Axes:
    """The first `count` main axes of features that come in parts of shape (n, D); at most half as many as there are rows."""
    total, rows = None, 0
    moments_DD: NDArray[np.float64] | None = None
    for part in parts:
        part_ND = part.astype(np.float32)
        sums = part_ND.sum(axis=0, dtype=np.float64)
        products = (part_ND.T @ part_ND).astype(np.float64)
        total = sums if total is None else total + sums
        moments_DD = products if moments_DD is None else moments_DD + products
        rows += len(part_ND)
    assert total is not None, "axes of nothing"
    assert moments_DD is not None
    mean_D = total / rows
    variances, axes = np.linalg.eigh(moments_DD / rows - np.outer(mean_D, mean_D))
    kept = max(1, min(count, rows // 2, len(variances)))
    first = slice(None, -kept - 1, -1)
    return Axes(
        mean_D.astype(np.float32), axes[:, first].astype(np.float32), np.maximum(variances[first], 0).astype(np.float32)
    )


class Index:
    """An index of vectors of length 1, shape (N, A); the same vectors in the same order give the same index."""

    def __init__(self, vectors_NA: Floats) -> None:
        try:
            from usearch.index import Index as Graph
        except ModuleNotFoundError as error:
            raise MissingExtra("usearch (to find near copies by features)", "check") from error
        self.count = len(vectors_NA)
        self.graph = Graph(
            ndim=vectors_NA.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=64, expansion_search=64
        )
        # One thread: several would build another graph each time.
        self.graph.add(np.arange(self.count), vectors_NA, threads=1)

    def nearest(self, queries_MA: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """Rows and likeness of the nearest, the nearest first, each of shape (M, count); -1 where there are fewer."""
        count = min(count, self.count)
        rows_MC = np.full((len(queries_MA), count), -1, np.int64)
        likeness_MC = np.full((len(queries_MA), count), -1, np.float32)
        found = self.graph.search(queries_MA, count)
        # With one query usearch gives one row's matches, not a batch of one.
        keys, distances = np.atleast_2d(found.keys), np.atleast_2d(found.distances)
        rows_MC[:, : keys.shape[1]] = keys.astype(np.int64)
        likeness_MC[:, : keys.shape[1]] = 1 - distances
        return rows_MC, likeness_MC
