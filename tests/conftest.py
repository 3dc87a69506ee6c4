"""What all tests share: a cache of their own, and small labelled pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the user's stores, nor those of another test."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SORTAL_CACHE", str(cache))
    return cache


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of noisy red, green and blue squares, `each` a class; easy to learn and no two alike."""

    def make(
        *, each: int = 12, side: int = 16, classes: tuple[str, ...] = ("blue", "green", "red"), name: str = "squares"
    ) -> Path:
        random = np.random.default_rng(0)
        for number, label in enumerate(classes):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for index in range(each):
                pixels = random.integers(0, 140, (side, side, 3), dtype=np.uint8)
                pixels[:, :, 2 - number % 3] += 110
                Image.fromarray(pixels).save(folder / f"{index:03d}.png")
        return tmp_path / name

    return make
