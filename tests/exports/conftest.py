"""A trained run for all tests of exports: a small network on small coloured squares, trained once."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal.recipe import Recipe, Split
from sortal.run import Run
from sortal.workflows import train

RECIPE = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=16,
    epochs=3,
    batch_size=8,
    learning_rate=0.02,
    precision="float32",
    layout="nchw",
    split=Split(val=0.3, test=0.1),
)


@pytest.fixture(scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for what lives as long as the session, since each test has its own."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("session-cache")
        patch.setenv("SORTAL_CACHE", str(place))
        yield place


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 noisy pictures of each colour, of several sizes; none is a square of the network's size."""
    folder = tmp_path_factory.mktemp("squares")
    random = np.random.default_rng(0)
    sizes = itertools.cycle([(20, 24), (33, 18), (64, 48)])
    for number, label in enumerate(("blue", "green", "red")):
        (folder / label).mkdir()
        for index in range(24):
            pixels = random.integers(0, 140, (*next(sizes), 3), dtype=np.uint8)
            pixels[:, :, 2 - number] += 110
            Image.fromarray(pixels).save(folder / label / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="session")
def trained(own_environment: Path, squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(squares, recipe=RECIPE, out=tmp_path_factory.mktemp("runs") / "run").run
