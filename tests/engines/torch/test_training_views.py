"""Training inputs as the network sees them, and what it is told they are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.engines.torch.engine import ENGINE
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Recipe

SIDE = 16
GEOMETRY = Preprocess(SIDE, SIDE, 1, mean=(0.2,), std=(0.3,))
ROWS = np.arange(3)


class Held:
    """Pixels in memory."""

    def __init__(self, pixels_NRRC: NDArray[np.uint8]) -> None:
        self.pixels_NRRC = pixels_NRRC

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels_NRRC[rows_B]


@pytest.fixture
def samples() -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 1), dtype=np.uint8)
    return Samples(("a", "b", "c"), np.arange(3), np.array([5, 6, 7], np.uint64), {"train": ROWS}, Held(pixels))


def recipe(augment: Augment) -> Recipe:
    return Recipe(model="lenet5", strategy="scratch", image_size=SIDE, channels=1, augment=augment)


def test_an_image_that_is_not_mixed_is_its_own_class(samples: Samples) -> None:
    assert ENGINE.training_targets(recipe(Augment()), GEOMETRY, samples, ROWS).tolist() == np.eye(3).tolist()


def test_the_targets_are_the_shares_that_the_images_are_mixed_by(samples: Samples) -> None:
    mixup = recipe(Augment(mixup=1.0))
    views = ENGINE.training_views(mixup, GEOMETRY, samples, ROWS)
    targets_NK = ENGINE.training_targets(mixup, GEOMETRY, samples, ROWS)
    np.testing.assert_allclose(targets_NK.sum(axis=1), 1, atol=1e-6)
    assert ((targets_NK > 0.01) & (targets_NK < 0.99)).any()
    plain = samples.pixels.read(ROWS).astype(np.float64)
    expected = np.einsum("nk,khwc->nhwc", targets_NK, plain)  # each image is a class of its own here
    np.testing.assert_allclose(views, expected, atol=1)
