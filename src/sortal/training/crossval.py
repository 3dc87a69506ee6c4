"""Cross-validation: each image is judged by a model that never saw it, so that few images still give a narrow interval."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sortal.data.samples import Samples
from sortal.engines.protocol import Arrays, Session
from sortal.errors import BundleError
from sortal.events import Observer, Progress, ignore
from sortal.files import write_bytes
from sortal.recipe import Best, Recipe, Stop
from sortal.training.fit import fit

LOGITS = "logits"
"""Their name in the file; what fold 3 learnt has names that begin with `3/`."""
OLDER = ".npy"
"""The ending of the file in which older versions kept the logits, and nothing else."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What the models of the folds said of images that they never saw, and what makes these models again.

    Attributes:
        logits_NK: of the training rows, float32 (N, K), each from the model of its fold; NaN for rows of no fold.
        weights: by fold what its model learnt (`Session.weights`); empty where an older version kept the logits alone.
    """

    logits_NK: NDArray[np.float32]
    weights: Mapping[int, Arrays]


def out_of_fold(
    open_session: Callable[[Recipe, Samples], Session],
    recipe: Recipe,
    samples: Samples,
    folds_N: NDArray[np.int64],
    *,
    save_to: Path | None = None,
    observe: Observer = ignore,
) -> OutOfFold:
    """Train a model for each fold on the other folds, and have it judge its own.

    Training rows of no fold (-1) train in every fold and are judged in none. Nothing is chosen on the held-out fold: every
    model is trained for all epochs of the recipe and its last weights are used. With `save_to` the result is kept there, and
    one that is there already is returned.
    """
    if save_to is not None and (found := kept(save_to)) is not None:
        return found
    logits_NK = np.full((len(folds_N), len(samples.classes)), np.nan, dtype=np.float32)
    weights: dict[int, Arrays] = {}
    for held, session in fold_sessions(open_session, recipe, samples, folds_N, observe=observe):
        logits_NK[held] = session.predict("val")
        weights[int(folds_N[held[0]])] = session.weights()
    found = OutOfFold(logits_NK, weights)
    if save_to is not None:
        _keep(found, save_to)
    return found


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


def kept(path: Path) -> OutOfFold | None:
    """What `out_of_fold` kept there, or what an older version kept beside it; None where nothing is.

    Raises `BundleError` where the file is damaged.
    """
    older = path.with_suffix(OLDER)
    if not path.exists() and not older.exists():
        return None
    try:
        if not path.exists():
            return OutOfFold(np.load(older, allow_pickle=False), {})
        arrays = load(path.read_bytes())
        weights: dict[int, dict[str, NDArray[Any]]] = defaultdict(dict)
        for key in arrays.keys() - {LOGITS}:
            fold, _, name = key.partition("/")
            weights[int(fold)][name] = arrays[key]
        return OutOfFold(arrays[LOGITS], dict(weights))
    except (SafetensorError, KeyError, ValueError, EOFError) as error:
        raise BundleError(
            f"{path if path.exists() else older} is damaged: {error}",
            hint="delete that file: --resume computes it anew, and a run that is finished is reported on without it",
        ) from error


def _keep(found: OutOfFold, path: Path) -> None:
    arrays = {f"{fold}/{name}": array for fold, weights in found.weights.items() for name, array in weights.items()}
    write_bytes(path, save({name: np.asarray(array, order="C") for name, array in {LOGITS: found.logits_NK, **arrays}.items()}))
