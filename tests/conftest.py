"""What all tests share: a cache of their own, and small labelled pictures."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Ctrl-C means what it means at a terminal, whoever began the tests: what a shell runs behind `&` ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def patches(tmp_path: Path) -> Callable[..., Path]:
    """Make a CSV of dark pictures with a red, a green or a blue patch in them, several or none; easy to learn."""

    def make(*, images: int = 60, side: int = 16, name: str = "patches") -> Path:
        random = np.random.default_rng(0)
        folder = tmp_path / name
        folder.mkdir()
        rows = ["path,label"]
        for index in range(images):
            pixels = random.integers(0, 60, (side, side, 3), dtype=np.uint8)
            has = [colour for colour, share in enumerate((0.6, 0.5, 0.25)) if random.random() < share]
            for colour in has:
                left, half = 5 * colour, side // 2
                top = half * int(random.integers(2))
                pixels[top : top + half, left : left + 5, colour] = random.integers(200, 255)
            Image.fromarray(pixels).save(folder / f"{index:03d}.png")
            rows.append(f"{index:03d}.png,{'|'.join(('red', 'green', 'blue')[colour] for colour in has)}")
        (folder / "labels.csv").write_text("\n".join(rows) + "\n")
        return folder / "labels.csv"

    return make
