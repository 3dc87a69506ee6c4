"""Cross-validation: each image is judged by a model that never saw it, so that few images still give a narrow interval."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.engines.protocol import Session
from sortal.events import Observer, Progress, ignore
from sortal.recipe import Best, Recipe, Stop
from sortal.train.fit import fit


def out_of_fold(
    open_session: Callable[[Recipe, Samples], Session],
    recipe: Recipe,
    samples: Samples,
    folds_N: NDArray[np.int64],
    *,
    observe: Observer = ignore,
) -> NDArray[np.float32]:
    """Logits of the training rows, shape (N, K), each from a model trained on the other folds; NaN for rows of no fold (-1).

    Nothing is chosen on the held-out fold: every model is trained for all epochs of the recipe and its last weights are used.
    """
    settled = recipe.model_copy(update={"best": Best(monitor="last"), "stop": Stop(patience=0)})
    logits_NK = np.full((len(folds_N), len(samples.classes)), np.nan, dtype=np.float32)
    folds = np.unique(folds_N[folds_N >= 0])
    for done, fold in enumerate(folds):
        observe(Progress("cross-validate", done, len(folds), "folds"))
        held = np.flatnonzero(folds_N == fold)
        rest = np.flatnonzero((folds_N >= 0) & (folds_N != fold))
        session = open_session(settled, samples.with_splits(train=rest, val=held))
        fit(session, settled)
        logits_NK[held] = session.predict("val")
    observe(Progress("cross-validate", len(folds), len(folds), "folds"))
    return logits_NK
