"""Cross-validation: each image is judged by a model that never saw it."""

from typing import Any

import numpy as np
import pytest

from sortal import engines
from sortal.data.samples import HeldFeatures, Samples
from sortal.preprocess import Preprocess
from sortal.recipe import Loss, Recipe, Sampler
from sortal.training.crossval import out_of_fold

LABELS = np.repeat([0, 1], [20, 4])
RECIPE = Recipe(epochs=2, batch_size=4, precision="float32", layout="nchw", runtime="torch", threads=1)


class Nothing:
    """No pixels: what is trained on are features."""

    def read(self, rows_B: Any) -> Any:
        raise AssertionError


@pytest.fixture
def samples() -> Samples:
    random = np.random.default_rng(0)
    rows = np.arange(len(LABELS))
    plain_ND = random.normal(LABELS[:, None], 0.3, (len(rows), 3)).astype(np.float32)
    features = HeldFeatures(plain_ND, plain_ND[:, None], rows)
    return Samples(("many", "few"), LABELS, rows.astype(np.uint64), {"train": rows}, Nothing(), features)


@pytest.mark.parametrize("name", ["oversample", "balanced"])
def test_a_sampler_draws_from_the_other_folds_alone_and_evens_them_out(samples: Samples, name: str) -> None:
    folds_N = np.arange(len(LABELS)) % 4
    shown = []

    def open_session(recipe: Recipe, divided: Samples) -> Any:
        session = engines.load("torch").open(recipe, Preprocess(8, 8, 1, mean=(0.5,), std=(0.5,)), divided)
        shown.append(np.concatenate([batch.rows_B for batch in session.batches(0)]))
        return session

    logits_NK = out_of_fold(open_session, RECIPE.model_copy(update={"sampler": Sampler(name=name)}), samples, folds_N)
    assert np.isfinite(logits_NK).all()
    for fold, rows in enumerate(shown):
        assert not (folds_N[rows] == fold).any()
        assert np.bincount(LABELS[rows]).tolist() == [9, 9]


def test_rare_classes_weigh_by_the_counts_of_the_other_folds(samples: Samples) -> None:
    folds_N = np.where(LABELS == 1, np.arange(len(LABELS)) % 2, -1)  # two of the four in each fold, the many in none
    ratios = []

    def open_session(recipe: Recipe, divided: Samples) -> Any:
        import torch

        session: Any = engines.load("torch").open(recipe, Preprocess(8, 8, 1, mean=(0.5,), std=(0.5,)), divided)
        many, few = (float(session.loss(torch.zeros(1, 2), torch.tensor([label]))) for label in (0, 1))
        ratios.append(few / many)
        return session

    out_of_fold(open_session, RECIPE.model_copy(update={"loss": Loss(class_weights="inverse")}), samples, folds_N)
    assert ratios == pytest.approx([10, 10])  # 20 to 2, where all together are 20 to 4
