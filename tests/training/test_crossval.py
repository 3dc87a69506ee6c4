"""Cross-validation: each image is judged by a model that never saw it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortal import engines
from sortal.data.samples import HeldFeatures, Samples
from sortal.errors import BundleError
from sortal.preprocess import Preprocess
from sortal.recipe import Loss, Recipe, Sampler
from sortal.training.crossval import kept, out_of_fold

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

    found = out_of_fold(open_session, RECIPE.model_copy(update={"sampler": Sampler(name=name)}), samples, folds_N)
    assert np.isfinite(found.logits_NK).all()
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


def opened(recipe: Recipe, divided: Samples) -> Any:
    return engines.load("torch").open(recipe, Preprocess(8, 8, 1, mean=(0.5,), std=(0.5,)), divided)


def test_what_is_kept_is_read_again_to_the_bit_and_trains_nothing(samples: Samples, tmp_path: Path) -> None:
    folds_N = np.where(np.arange(len(LABELS)) == 0, -1, np.arange(len(LABELS)) % 3)
    found = out_of_fold(opened, RECIPE, samples, folds_N, save_to=tmp_path / "held_out.safetensors")

    def never(recipe: Recipe, divided: Samples) -> Any:
        raise AssertionError

    again = out_of_fold(never, RECIPE, samples, folds_N, save_to=tmp_path / "held_out.safetensors")
    assert again.logits_NK.tobytes() == found.logits_NK.tobytes()
    assert np.isnan(again.logits_NK[0]).all()
    assert set(again.weights) == set(found.weights) == {0, 1, 2}
    for fold, weights in found.weights.items():
        assert {name: array.tobytes() for name, array in weights.items()} == {
            name: array.tobytes() for name, array in again.weights[fold].items()
        }
    assert kept(tmp_path / "nothing.safetensors") is None


def test_the_kept_weights_of_a_fold_give_its_logits(samples: Samples) -> None:
    folds_N = np.arange(len(LABELS)) % 3
    found = out_of_fold(opened, RECIPE, samples, folds_N)
    assert samples.features is not None
    for fold, weights in found.weights.items():
        held = np.flatnonzero(folds_N == fold)
        matrix, bias = (next(array for array in weights.values() if array.ndim == axes) for axes in (2, 1))
        logits_MK = samples.features.plain(held) @ matrix.T + bias
        np.testing.assert_allclose(logits_MK, found.logits_NK[held], atol=1e-5)


def test_what_an_older_version_kept_are_the_logits_alone(samples: Samples, tmp_path: Path) -> None:
    logits_NK = np.zeros((len(LABELS), 2), np.float32)
    np.save(tmp_path / "held_out.npy", logits_NK)
    found = kept(tmp_path / "held_out.safetensors")
    assert found is not None
    assert (found.logits_NK.tolist(), dict(found.weights)) == (logits_NK.tolist(), {})


@pytest.mark.parametrize("name", ["held_out.safetensors", "held_out.npy"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=name) as caught:
        kept(tmp_path / "held_out.safetensors")
    assert "delete" in caught.value.hint
