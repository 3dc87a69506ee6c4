"""Breaking: the held-out images of a run, spoilt in many ways, through the bundle's own graph; no framework is needed."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sortal.augment.parameters import Position
from sortal.bundle import Bundle
from sortal.engines.onnx import predictor
from sortal.evaluation.robustness import chosen, robustness, told
from sortal.evaluation.task import task
from sortal.events import Note, Observer, ignore
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import network_pixels

if TYPE_CHECKING:
    from sortal.data.samples import Pixels

HELD_OUT = ("test", "val")
"""Splits that the shipped model has not been trained on, in the order in which they are asked for."""


def broken_by(
    bundle: Bundle, predictions: Predictions, used: Manifest, pixels: "Pixels", *, observe: Observer = ignore
) -> tuple[dict[str, Any], ...]:
    """A report's `robustness` (`evaluation.robustness.robustness`): on a bounded number of images, evenly spread.

    Only images that the shipped model was not trained on can show what breaks it: without a test or validation split there
    are no rows, and a note says why. `used` are the manifest's rows in use, and `pixels` are theirs.
    """
    judge = task(bundle.task)
    split = next((name for name in HELD_OUT if name in predictions.split_names), None)
    known = predictions.split(split) if split is not None else predictions
    known = known.where(judge.known(known.labels_N))
    if split is None or not len(known):
        observe(Note("robustness is left out: the shipped model was trained on all of these images, and knows them by heart"))
        return ()
    side = bundle.preprocess.size
    looked_at = chosen(len(known), side)
    known = known.where(np.isin(np.arange(len(known)), looked_at))
    row_of = {source: row for row, source in enumerate(used.sources)}
    rows = np.array([row_of[source] for source in known.sources], dtype=np.int64)

    def right(probs_NK: NDArray[np.float32]) -> NDArray[np.bool_]:
        said_NK = judge.said(probs_NK, bundle.thresholds)
        if said_NK is None:
            return np.asarray(probs_NK.argmax(axis=1) == known.labels_N)
        return np.asarray((said_NK == (known.labels_N > 0)).all(axis=1))

    images = network_pixels(pixels.read(rows), bundle.preprocess)
    found = robustness(predictor(bundle), images, right, Position(0, 0, used.keys_N[rows]), observe=observe)
    observe(Note(f"on {len(known):,} images of the {split} split: {told(found)}"))
    return found
