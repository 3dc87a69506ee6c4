"""Neighbours: the training images whose features are most like those of an image; often they show where a mistake came from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN = 3


def nearest(
    features_MD: NDArray[np.float32],
    training_ND: NDArray[np.float32],
    sources_M: Sequence[str],
    sources_N: Sequence[str],
    labels_N: Sequence[str],
    *,
    shown: int = SHOWN,
) -> list[list[dict[str, Any]]]:
    """Of each of M images the nearest of N training images: rows `source`, `label`, `similarity` (cosine, -1..1).

    The image itself is left out. Features are taken from the training's mean: what all images share tells none apart.
    """
    if not len(training_ND):
        return [[] for _ in sources_M]
    middle = training_ND.mean(axis=0)
    similar_MN = _unit(features_MD - middle) @ _unit(training_ND - middle).T
    place = {source: number for number, source in enumerate(sources_N)}
    found = []
    for row_N, source in zip(similar_MN, sources_M, strict=True):
        if source in place:
            row_N[place[source]] = -np.inf
        best = [number for number in np.argsort(-row_N, kind="stable")[:shown].tolist() if np.isfinite(row_N[number])]
        found.append(
            [{"source": sources_N[each], "label": labels_N[each], "similarity": round(float(row_N[each]), 4)} for each in best]
        )
    return found


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return np.asarray(rows_ND / np.maximum(lengths, 1e-12), dtype=np.float32)
