"""Augmentation stays with the training images: what is evaluated is the same whatever a recipe says about it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.engines.torch import inputs
from sortal.engines.torch.engine import ENGINE
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Recipe, augmentations, presets

SIDE, STORED = 32, 40
GEOMETRY = Preprocess(SIDE, STORED)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, STORED, STORED, 3), dtype=np.uint8)
KEYS = np.arange(12, dtype=np.uint64) * 977
STRONG = [
    augmentations.heavy(side=SIDE),
    presets.named("seed000_strong").augment,
    presets.named("seed003_albumentations").augment,
    Augment(mixup=1.0, cutmix=1.0, trivial_augment=True, grey=1.0, vertical_flip=1.0),
]


class Held:
    """Pixels in memory."""

    asked = 0

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.asked += len(rows_B)
        return PIXELS[rows_B]


@pytest.mark.parametrize("augment", STRONG, ids=["heavy", "seed000", "seed003", "mixing"])
def test_validation_and_test_images_are_never_augmented(augment: Augment) -> None:
    rows = np.arange(12)
    samples = Samples(("a", "b"), rows % 2, KEYS, {"train": rows[:6], "val": rows[6:9], "test": rows[9:]}, Held())
    recipe = Recipe(model="simple_cnn", weights="none", strategy="scratch", image_size=SIDE, threads=1, precision="float32")
    plain = ENGINE.open(recipe, GEOMETRY, samples)
    varied = ENGINE.open(recipe.model_copy(update={"augment": augment}), GEOMETRY, samples)
    for split in ("val", "test", "train"):  # training images too, when they are judged
        assert plain.predict(split).tobytes() == varied.predict(split).tobytes()
    (images, _), (others, _) = (session.inputs.training(rows[:6], 0, 0) for session in (plain, varied))
    assert (images != others).any()


@pytest.mark.parametrize("augment", STRONG[:3], ids=["heavy", "seed000", "seed003"])
def test_the_features_that_are_evaluated_are_those_of_plain_images(augment: Augment) -> None:
    recipe = Recipe(model="resnet10t", weights="none", image_size=SIDE, resize=STORED, threads=1, runtime="torch")
    plain = ENGINE.frozen(recipe, GEOMETRY)
    varied = ENGINE.frozen(recipe.model_copy(update={"augment": augment}), GEOMETRY)
    assert plain.outputs(PIXELS).tobytes() == varied.outputs(PIXELS).tobytes()
    assert plain.key == varied.key, "features of plain images are stored once, whatever is augmented"
    assert (varied.views(PIXELS[:2], KEYS[:2]) != plain.views(PIXELS[:2], KEYS[:2])).any()


def test_images_that_lie_on_the_device_whole_are_read_once_and_are_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(12)
    recipe = Recipe(model="simple_cnn", weights="none", strategy="scratch", image_size=SIDE, precision="float32")
    recipe = recipe.model_copy(update={"augment": Augment(crop="padded", flip=0.5)})

    def shown() -> tuple[list[bytes], int]:
        samples = Samples(("a", "b"), rows % 2, KEYS, {"train": rows[:8], "val": rows[8:]}, Held())
        source = inputs.PixelInputs(samples, recipe, GEOMETRY, torch.device("cpu"))
        found = [source.training(rows[:8], epoch, epoch)[0] for epoch in range(3)] + [source.plain(rows[7:])]
        return [tensor.numpy().tobytes() for tensor in found], samples.pixels.asked  # type: ignore[attr-defined]

    expected, many = shown()
    monkeypatch.setattr(inputs, "UPLOADED_AT_ONCE", 5)
    monkeypatch.setattr(inputs, "room_for_images", lambda device: PIXELS.nbytes - 1)
    assert shown() == (expected, many), "there is no room for them"
    monkeypatch.setattr(inputs, "room_for_images", lambda device: PIXELS.nbytes)
    assert shown() == (expected, 12)
    assert many == 3 * 8 + 5
