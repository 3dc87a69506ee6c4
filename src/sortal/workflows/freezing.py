"""The part of a network that stays frozen: whether its outputs are stored, and the samples that are trained on them."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from sortal import recipe as recipes
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.engines.protocol import Engine
from sortal.errors import NotSupported, RecipeError
from sortal.events import Decision, Observer
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.training.features import bytes_needed, stored_features

Measure = Callable[[Recipe], tuple[Recipe, list[Decision]]]
"""A recipe with every 'auto' of speed replaced, and why."""


def settled(
    engine: Engine, recipe: Recipe, geometry: Preprocess, manifest: Manifest, measure: Measure
) -> tuple[Recipe, list[Decision]]:
    """The recipe with 'auto' replaced in `frozen` and in all that is measured; then what it trains, as a decision.

    Raises `RecipeError` or `UnknownName` where it thaws what the network does not have, and `NotSupported` or `RecipeError`
    where outputs are to be stored that cannot be.
    """
    parameters = engine.parameters(recipe, geometry, len(manifest.classes))
    told = [Decision("trainable", f"{parameters.trainable:,} of {parameters.total:,} parameters", parameters.told)]
    where, why = _where(engine, recipe, geometry, manifest)
    if where == "pixels" and recipe.split.folds:
        raise RecipeError([f"split.folds: cross-validation trains on stored outputs, but {why}"], hint="set split.folds = 0")
    if recipe.strategy == "features" or not recipe.keeps_frozen:
        why = ""  # there was nothing to decide
    if why and recipe.frozen == "auto":
        told.append(Decision("frozen", where, why))
    found, measured = measure(recipes.parse(recipe.model_dump(mode="json") | {"frozen": where}))
    return found, [*told, *measured]


def _where(engine: Engine, recipe: Recipe, geometry: Preprocess, manifest: Manifest) -> tuple[str, str]:
    """'stored' or 'pixels', and why."""
    if recipe.strategy == "features":
        return "stored", "a head is trained on stored outputs"
    if not recipe.may_be_stored:
        return "pixels", "images are mixed, and what is stored cannot be" if recipe.keeps_frozen else "nothing stays frozen"
    try:
        shape = engine.frozen(recipe, geometry).shape
    except NotSupported as error:
        if recipe.frozen == "stored":
            raise
        return "pixels", f"the frozen part is computed in every step: {error}"
    used = manifest.used
    training = sum(split == "train" for split in used.column("split"))
    needed = bytes_needed(shape, images=len(used.sources), training_images=training, views=recipe.augment.views)
    pixels = len(used.sources) * geometry.resize**2 * geometry.channels
    sizes = f"{needed / 1e6:,.0f} MB, {' x '.join(map(str, shape))} numbers a view"
    if Cache.default(recipe.store.limit).allows(needed + pixels):
        return "stored", f"the frozen part is computed once for {recipe.augment.views} augmented views: {sizes}"
    problem = f"what the frozen part gives needs {sizes}, more than the stores may take"
    if recipe.frozen == "stored":
        raise RecipeError([f"frozen: {problem}"], hint="raise store.limit, lower augment.views, or set frozen = 'pixels'")
    return "pixels", f"{problem}: it is computed in every step; a larger store.limit or fewer augment.views are quicker"


def with_features(
    engine: Engine,
    recipe: Recipe,
    preprocess: Preprocess,
    samples: Samples,
    contents: Sequence[str],
    cache: Cache,
    opened: ExitStack,
    observe: Observer,
) -> tuple[Samples, int]:
    """The samples with what the frozen part gives for them, if the recipe trains on that, and how much had to be computed."""
    if recipe.frozen != "stored":
        return samples, 0
    frozen = engine.frozen(recipe, preprocess)
    drawn = (recipe.augment.model_dump_json(), recipe.seed, preprocess.resize)
    features, computed = stored_features(
        frozen, samples.pixels, contents, samples.keys_N, samples.splits.get("train", np.empty(0, np.int64)),
        views=recipe.augment.views, views_key=hashlib.sha256(repr(drawn).encode()).hexdigest()[:32],
        cache=cache, opened=opened, observe=observe,
    )  # fmt: skip
    return replace(samples, features=features), computed
