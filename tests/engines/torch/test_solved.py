"""A head that is solved for: the minimum that a logistic regression finds, the same bytes when resumed, and its refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sortal.data.samples import HeldFeatures, Samples
from sortal.engines.torch import solved
from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.solved import SolvedHead
from sortal.errors import RecipeError
from sortal.preprocess import Preprocess
from sortal.recipe import Optimizer, Recipe, override
from sortal.training.fit import fit

COUNT, SIZE, CLASSES = 60, 8, 3
RECIPE = Recipe(
    task="multi_class", epochs=3, image_size=32, threads=1, frozen="stored", runtime="torch",
    optimizer=Optimizer(name="lbfgs", weight_decay=1 / COUNT),
)  # fmt: skip


def samples(*, views: int = 2, several: bool = False) -> Samples:
    """Overlapping clouds, one a class; views are the plain features with noise."""
    random = np.random.default_rng(0)
    labels_N = np.arange(COUNT) % CLASSES
    plain = (random.normal(size=(CLASSES, SIZE))[labels_N] + random.normal(size=(COUNT, SIZE))).astype(np.float32)
    noise = random.normal(0, 0.1, (COUNT, views, SIZE)).astype(np.float32)
    features = HeldFeatures(plain, plain[:, None] + noise, np.arange(COUNT))
    labels = np.eye(CLASSES, dtype=np.int64)[labels_N] if several else labels_N
    rows = {"train": np.arange(0, COUNT, 2), "val": np.arange(1, COUNT, 2)}
    return Samples(("a", "b", "c"), labels, np.arange(COUNT, dtype=np.uint64), rows, None, features)  # type: ignore[arg-type]


def opened(recipe: Recipe = RECIPE, **changes: Any) -> SolvedHead:
    session = ENGINE.open(recipe, Preprocess(32, 32), samples(**changes))
    assert isinstance(session, SolvedHead)
    return session


def test_it_finds_the_minimum_that_scikit_learn_finds() -> None:
    given = samples()
    features, train = given.features, given.splits["train"]
    assert isinstance(features, HeldFeatures)
    views = np.concatenate([features.plain_ND[train], *(features.views_MVD[train, view] for view in range(2))])
    # Theirs is the sum over views plus half of the squares, ours the mean plus half of the decay times the squares.
    theirs = LogisticRegression(C=1 / (RECIPE.optimizer.weight_decay * len(views)), tol=1e-8, max_iter=10_000)
    theirs.fit(views, np.tile(given.labels_N[train], 3))
    session = opened()
    fit(session, RECIPE)
    ours_NK = session.predict("val")
    theirs_NK = theirs.decision_function(features.plain_ND[given.splits["val"]])
    np.testing.assert_allclose(
        ours_NK - ours_NK.mean(axis=1, keepdims=True), theirs_NK - theirs_NK.mean(axis=1, keepdims=True), rtol=5e-3, atol=5e-3
    )


def test_more_epochs_change_nothing_once_it_is_there() -> None:
    once, more = opened(), opened()
    fit(once, RECIPE)
    fit(more, override(RECIPE, ["epochs=6"]))
    np.testing.assert_allclose(once.predict("val"), more.predict("val"), atol=1e-3)


def test_what_is_resumed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = opened()
    fit(whole, RECIPE)
    first = opened()
    fit(first, override(RECIPE, ["epochs=1"]), save_to=tmp_path / "state")
    again = opened()
    fitted = fit(again, RECIPE, save_to=tmp_path / "state")
    assert fitted.steps == 2
    assert {name: array.tobytes() for name, array in again.weights().items()} == {
        name: array.tobytes() for name, array in whole.weights().items()
    }


def test_features_in_pieces_give_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = opened()
    fit(whole, RECIPE)
    monkeypatch.setattr(solved, "BYTES_AT_ONCE", 7 * 4 * SIZE)
    pieces = opened()
    fit(pieces, RECIPE)
    np.testing.assert_allclose(pieces.predict("val"), whole.predict("val"), atol=1e-3)


def test_several_labels_an_image_are_solved_for_too() -> None:
    session = opened(override(RECIPE, ["task=multi_label", "best.monitor=last"]), several=True)
    fitted = fit(session, RECIPE)
    assert fitted.history[0]["loss"] < 0.5  # guessing costs log 2


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("strategy=full", "solves for a linear head"),
        ("head.kind=mlp", "solves for a linear head"),
        ("loss.name=focal", "solves for a linear head"),
        ("learning_rate=0.1", "learning_rate: 'lbfgs' takes all images at once"),
        ("batch_size=64", "batch_size: 'lbfgs' takes all images at once"),
        ("head.dropout=0.5", "head.dropout: 'lbfgs' takes"),
        ("average.name=ema", "average: 'lbfgs' takes"),
        ("sampler.name=oversample", "sampler: 'lbfgs' takes"),
        ("schedule.warmup=0.1", "schedule: 'lbfgs' takes"),
        ("optimizer.clip=1", "leave clip, accumulate"),
        ("optimizer.momentum=0.5", "leave clip, accumulate"),
    ],
)
def test_what_it_would_not_look_at_is_refused(setting: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        override(RECIPE, [setting])
