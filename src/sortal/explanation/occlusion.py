"""Occlusion maps: hide a patch, watch the probability fall. Works with any predictor."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sortal.events import Observer, Progress, ignore

PLACES = 10
"""Places a side at which a patch is put: a hundred answers of the model for one image."""
PATCH = 0.2
"""Its side, as a share of the image's: two places, so that neighbours overlap by half."""

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From what the network sees, uint8 (N, S, S, C), to probabilities (N, K)."""


def occlusion(
    predict: Predict, images_NSSC: NDArray[np.uint8], labels_N: NDArray[np.int64], *, observe: Observer = ignore
) -> NDArray[np.float32]:
    """How far the label's probability falls when a patch about each place is hidden, float32 (N, h, w); 0 where it rises.

    Of `PLACES` a side, or as many as the image has pixels. A hidden patch has the image's own mean colour, with which the
    least is added that was not there (Zeiler and Fergus, ECCV 2014, took grey).
    """
    side = images_NSSC.shape[1]
    places = min(PLACES, side)
    maps = np.zeros((len(images_NSSC), places, places), np.float32)
    before_N = predict(images_NSSC)[np.arange(len(images_NSSC)), labels_N] if len(images_NSSC) else np.zeros(0, np.float32)
    for number, (image, label) in enumerate(zip(images_NSSC, labels_N.tolist(), strict=True)):
        after = predict(hidden(image, places))[:, label]
        maps[number] = np.maximum(before_N[number] - after, 0).reshape(places, places)
        observe(Progress("explain", number + 1, len(images_NSSC)))
    return maps


def hidden(image_SSC: NDArray[np.uint8], places: int) -> NDArray[np.uint8]:
    """The image `places`^2 times, row by row of places, each time with the patch about that place hidden."""
    side = image_SSC.shape[0]
    half = max(1.0, PATCH * side) / 2
    grey = np.rint(image_SSC.mean(axis=(0, 1))).astype(np.uint8)
    middles = (np.arange(places) + 0.5) * side / places
    low = np.clip(np.rint(middles - half), 0, side - 1).astype(np.int64)
    high = np.maximum(low + 1, np.clip(np.rint(middles + half), 1, side).astype(np.int64))
    found = np.repeat(image_SSC[None], places * places, axis=0)
    for row in range(places):
        for column in range(places):
            found[row * places + column, low[row] : high[row], low[column] : high[column]] = grey
    return found
