"""Breaking: held-out images of a run, spoilt in many ways, answered by graphs in ONNX Runtime that never saw them before."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sortal import engines
from sortal.augment.parameters import Position
from sortal.bundle import Bundle
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.engines.graphs import LOGITS
from sortal.engines.onnx import OnnxGraph, predictor
from sortal.evaluation.calibrators import of_bundle
from sortal.evaluation.robustness import chosen, robustness, told
from sortal.evaluation.task import task
from sortal.events import Note, Observer, ignore
from sortal.manifest import Manifest
from sortal.predictions import Predictions, right
from sortal.preprocess import network_pixels
from sortal.recipe import Recipe
from sortal.training.crossval import fold_sessions
from sortal.workflows.freezing import with_features
from sortal.workflows.measuring import group_numbers

if TYPE_CHECKING:
    from sortal.data.samples import Pixels

HELD_OUT = ("test", "val", "cross_validation")
"""What the model is judged on, in the order in which it is asked for; of the last each fold has a model of its own."""

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def broken_by(
    bundle: Bundle,
    recipe: Recipe,
    predictions: Predictions,
    used: Manifest,
    pixels: "Pixels",
    cache: Cache,
    *,
    observe: Observer = ignore,
) -> tuple[dict[str, Any], ...]:
    """A report's `robustness` (`evaluation.robustness.robustness`): on a bounded number of images, evenly spread.

    Only images that a model was not trained on can show what breaks it. Those of a test or validation split are answered by the
    bundle's own graph; with cross-validation alone the models of the folds are trained anew on stored features, which takes
    seconds, and each answers the images of its fold, calibrated as the bundle is. Where nothing was held out there are no rows,
    and a note says why. `used` are the manifest's rows in use, and `pixels` are theirs.
    """
    judge = task(bundle.task)
    split = next((name for name in HELD_OUT if name in predictions.split_names), "")
    known = predictions.split(split)
    known = known.where(judge.known(known.labels_N))
    if not len(known):
        observe(Note("robustness is left out: nothing was held out, and a model knows its training images by heart"))
        return ()
    known = known.where(np.isin(np.arange(len(known)), chosen(len(known), bundle.preprocess.size)))
    row_of = {source: row for row, source in enumerate(used.sources)}
    rows = np.array([row_of[source] for source in known.sources], dtype=np.int64)

    def right_N(probs_NK: NDArray[np.float32]) -> NDArray[np.bool_]:
        return right(probs_NK, known.labels_N, judge.said(probs_NK, bundle.thresholds))

    predict: Predict = predictor(bundle)
    if split == "cross_validation":
        predict = _by_folds(bundle, recipe, used, pixels, rows, cache, observe)
    images = network_pixels(pixels.read(rows), bundle.preprocess)
    at, groups_N = Position(0, 0, used.keys_N[rows]), group_numbers(used.take(rows))
    found = robustness(predict, images, right_N, at, groups_N=groups_N, observe=observe)
    where = "cross-validated images" if split == "cross_validation" else f"images of the {split} split"
    observe(Note(f"on {len(known):,} {where}: {told(found)}"))
    return found


def _by_folds(
    bundle: Bundle,
    recipe: Recipe,
    used: Manifest,
    pixels: "Pixels",
    rows_M: NDArray[np.int64],
    cache: Cache,
    observe: Observer,
) -> Predict:
    """Answers for pictures of these rows, each by the model that was trained on the folds that it is not in."""
    engine, calibrate = engines.load(recipe.engine), of_bundle(bundle)
    preprocess, classes = bundle.preprocess, len(bundle.classes)
    folds_N = np.array([-1 if fold is None else fold for fold in used.column("fold")], dtype=np.int64)
    training = np.flatnonzero(np.array(used.column("split")) == "train")
    samples = Samples(used.classes, task(bundle.task).labels(used), used.keys_N, {"train": training}, pixels)
    graphs: list[tuple[NDArray[np.int64], OnnxGraph]] = []
    with ExitStack() as opened:
        samples, _ = with_features(engine, recipe, preprocess, samples, used.column("content"), cache, opened, observe)
        sessions = fold_sessions(lambda r, s: engine.open(r, preprocess, s), recipe, samples, folds_N, observe=observe)
        for held, session in sessions:
            places = np.flatnonzero(np.isin(rows_M, held))
            if len(places):
                assembled = engine.assemble(recipe, preprocess, classes, session.weights())
                graphs.append((places, OnnxGraph(assembled.graph, threads=recipe.threads)))

    def predict(images_MSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits_MK = np.empty((len(rows_M), classes), np.float32)
        for places, graph in graphs:
            logits_MK[places] = graph.outputs(images_MSSC[places])[LOGITS]
        return calibrate(logits_MK)

    return predict
