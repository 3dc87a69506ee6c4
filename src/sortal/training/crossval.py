"""Cross-validation: each image is judged by a model that never saw it, so that few images still give a narrow interval."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.engines.protocol import Session
from sortal.errors import BundleError
from sortal.events import Observer, Progress, ignore
from sortal.files import write_bytes
from sortal.recipe import Best, Recipe, Stop
from sortal.training.fit import fit


def out_of_fold(
    open_session: Callable[[Recipe, Samples], Session],
    recipe: Recipe,
    samples: Samples,
    folds_N: NDArray[np.int64],
    *,
    save_to: Path | None = None,
    observe: Observer = ignore,
) -> NDArray[np.float32]:
    """Logits of the training rows, shape (N, K), each from a model trained on the other folds; NaN for rows of no fold (-1).

    Training rows of no fold train in every fold and are judged in none. Nothing is chosen on the held-out fold: every model
    is trained for all epochs of the recipe and its last weights are used. With `save_to` the logits are kept there, and those
    that are there already are returned.
    """
    if save_to is not None and save_to.exists():
        return _read(save_to)
    logits_NK = np.full((len(folds_N), len(samples.classes)), np.nan, dtype=np.float32)
    for held, session in fold_sessions(open_session, recipe, samples, folds_N, observe=observe):
        logits_NK[held] = session.predict("val")
    if save_to is not None:
        buffer = io.BytesIO()
        np.save(buffer, logits_NK, allow_pickle=False)
        write_bytes(save_to, buffer.getvalue())
    return logits_NK


def fold_sessions(
    open_session: Callable[[Recipe, Samples], Session],
    recipe: Recipe,
    samples: Samples,
    folds_N: NDArray[np.int64],
    *,
    observe: Observer = ignore,
) -> Iterator[tuple[NDArray[np.int64], Session]]:
    """Fold by fold its rows, and a session that was trained on all others; its split 'val' are those rows."""
    settled = recipe.model_copy(update={"best": Best(monitor="last"), "stop": Stop(patience=0)})
    train = samples.splits["train"]
    folds = np.unique(folds_N[folds_N >= 0])
    for done, fold in enumerate(folds):
        observe(Progress("cross-validate", done, len(folds), "folds"))
        held = np.flatnonzero(folds_N == fold)
        session = open_session(settled, samples.with_splits(train=train[folds_N[train] != fold], val=held))
        fit(session, settled)
        yield held, session
    observe(Progress("cross-validate", len(folds), len(folds), "folds"))


def _read(path: Path) -> NDArray[np.float32]:
    try:
        logits_NK: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BundleError(f"{path} is damaged: {error}", hint="delete that file, then --resume computes it anew") from error
    return logits_NK
