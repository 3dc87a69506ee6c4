"""Growing: the learning curve of a run, from heads on the features that it stored."""

import contextlib

import numpy as np

from sortal import engines
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.evaluation.learning_curve import learning_curve
from sortal.evaluation.task import task
from sortal.events import Note, Observer, Progress
from sortal.manifest import SPLITS, Manifest
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.workflows.freezing import with_features
from sortal.workflows.measuring import group_numbers


def curve_of(
    recipe: Recipe, preprocess: Preprocess, manifest: Manifest, pixels: StoredPixels, observe: Observer
) -> tuple[dict[str, object], ...]:
    """Rows as of `learning_curve`, judged on the folds, or the test split, or the validation split; empty where there are
    none to be had, which is then said.
    """

    def left_out(why: str) -> tuple[dict[str, object], ...]:
        observe(Note(f"no learning curve: {why}"))
        return ()

    if recipe.task == "multi_label":
        return left_out("an image may have several labels")
    if recipe.frozen != "stored":
        return left_out("the run stored no features that these images had no part in")
    used = manifest.used
    split_N = np.array(used.column("split"))
    rows = {name: np.flatnonzero(split_N == name) for name in SPLITS}
    splits = {name: found for name, found in rows.items() if len(found)}
    engine = engines.load(recipe.engine)
    labels_N = task(recipe.task).labels(used)
    with contextlib.ExitStack() as opened:
        samples = Samples(used.classes, labels_N, used.keys_N, splits, pixels)
        cache = Cache.default(recipe.store.limit)
        samples, _ = with_features(engine, recipe, preprocess, samples, used.column("content"), cache, opened, observe)
        assert samples.features is not None
        features_NX = samples.features.plain(np.arange(len(used)))
    # Maps of a network that was cut in the middle: their means are features too.
    features_ND = features_NX if features_NX.ndim == 2 else features_NX.mean(axis=tuple(range(2, features_NX.ndim)))
    if recipe.split.folds:
        fold_N = np.array([-1 if fold is None else fold for fold in used.column("fold")])
        train = rows["train"]
        folds = [(train[fold_N[train] != fold], np.flatnonzero(fold_N == fold)) for fold in np.unique(fold_N[fold_N >= 0])]
    else:
        judged = next((rows[name] for name in ("test", "val") if len(rows[name])), np.zeros(0, dtype=np.int64))
        folds = [(rows["train"], judged)]
    found = learning_curve(
        features_ND,
        labels_N,
        folds,
        used.classes,
        groups_N=group_numbers(used),
        advance=lambda done, total: observe(Progress("learning curve", done, total, "heads")),
    )
    return tuple(found) or left_out("a class has fewer than two images to train on, or none is held out")
