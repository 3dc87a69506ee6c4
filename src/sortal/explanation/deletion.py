"""Deletion: does the map name what the model needs? Delete what it names, and the probability must fall soon.

Petsiuk, Das and Saenko, "RISE" (BMVC 2018). A map that does no better than a random one explains nothing; and one that is the
same for a network with random weights explains the picture, not the network (Adebayo et al., NeurIPS 2018).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

STEPS = 10
"""Answers along the way from the whole image to none of it."""


def deletion(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    image_SSC: NDArray[np.uint8],
    label: int,
    map_hw: NDArray[np.floating],
    *,
    steps: int = STEPS,
) -> float:
    """Mean probability of the label while the places are deleted, the highest of the map first; 0..1, lower is better.

    Deleted places get the image's mean colour. Places are as large as the map says, equal ones go in the order of rows.
    """
    height, width = map_hw.shape
    side = image_SSC.shape[0]
    ranks = np.empty(height * width, np.int64)
    ranks[np.argsort(-map_hw.ravel(), kind="stable")] = np.arange(height * width)
    rows = np.minimum(np.arange(side) * height // side, height - 1)
    columns = np.minimum(np.arange(side) * width // side, width - 1)
    rank_SS = ranks.reshape(height, width)[rows][:, columns]
    grey = np.rint(image_SSC.mean(axis=(0, 1))).astype(np.uint8)
    gone = np.linspace(0, height * width, steps + 1)
    images = np.stack([np.where((rank_SS < count)[..., None], grey, image_SSC) for count in gone])
    return float(predict(images)[:, label].mean())


def alike(first_hw: NDArray[np.floating], second_hw: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two maps of one shape, -1..1; 0 where one of them says nothing."""
    if any(np.ptp(each) == 0 for each in (first_hw, second_hw)):
        return 0.0
    first, second = (np.argsort(np.argsort(each.ravel(), kind="stable"), kind="stable") for each in (first_hw, second_hw))
    return float(np.corrcoef(first, second)[0, 1])
