"""What breaks a model first is found, with any function from pixels to probabilities for a model."""

import numpy as np
import pytest

from sortal.augment.parameters import Position
from sortal.evaluation.corruptions import CORRUPTIONS
from sortal.evaluation.intervals import wilson
from sortal.evaluation.robustness import MOST_IMAGES, breaks, chosen, robustness, told
from sortal.events import Progress

SIDE = 24


def by_brightness(images: np.ndarray) -> np.ndarray:
    """A model that calls an image bright from a mean of 100 on; noise, blur and turns leave the mean alone."""
    sure = 1 / (1 + np.exp(-(images.mean(axis=(1, 2, 3)) - 100) / 10))
    return np.stack([1 - sure, sure], axis=1).astype(np.float32)


def dark_and_bright(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 2
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (count, SIDE, SIDE, 3)) + np.where(labels == 1, 90, 55)[:, None, None, None]
    return images.astype(np.uint8), labels


def rows_of(images: np.ndarray, labels: np.ndarray, events: list | None = None) -> tuple:
    at = Position(0, 0, np.arange(len(images), dtype=np.uint64))
    right = lambda probs: probs.argmax(axis=1) == labels  # noqa: E731
    return robustness(
        by_brightness, images, right, at, observe=lambda event: events.append(event) if events is not None else None
    )


def test_what_breaks_the_model_stands_first_and_what_does_not_last() -> None:
    rows = rows_of(*dark_and_bright())
    assert rows[0] == {
        "corruption": "none",
        "strength": 0,
        "images": 40,
        "accuracy": 1.0,
        "accuracy_interval": list(wilson(40, 40)),
    }
    assert rows[1]["corruption"] == "brightness"
    assert [row["strength"] for row in rows[1:6]] == [1, 2, 3, 4, 5]
    assert {row["corruption"] for row in rows[1:]} == set(CORRUPTIONS)
    assert len(rows) == 1 + 5 * len(CORRUPTIONS)
    assert rows[5]["accuracy"] == 0.5
    blurred = [row["accuracy"] for row in rows if row["corruption"] == "gaussian_blur"]
    assert blurred == [1.0] * 5
    assert "more brightness (brightness) breaks the model first: at strength 2 of 5 accuracy falls from 1.000 to" in told(rows)


def test_the_same_images_give_the_same_rows_and_progress_comes_to_its_end() -> None:
    events: list[Progress] = []
    images, labels = dark_and_bright(20)
    assert rows_of(images, labels, events) == rows_of(images, labels)
    total = 20 * (1 + 5 * len(CORRUPTIONS))
    assert [events[0].done, events[-1].done, events[-1].total] == [20, total, total]


def test_grey_images_have_no_colours_to_lose() -> None:
    images, labels = dark_and_bright(12)
    rows = rows_of(images[..., :1], labels)
    assert "saturate" not in {row["corruption"] for row in rows}


def test_a_model_that_nothing_breaks_is_said_to_be_so() -> None:
    images, _ = dark_and_bright(12)
    at = Position(0, 0, np.arange(12, dtype=np.uint64))
    rows = robustness(lambda images: np.ones((len(images), 1), np.float32), images, lambda probs: np.ones(len(probs), bool), at)
    assert told(rows) == f"none of the {len(CORRUPTIONS)} corruptions takes 5% of the accuracy"
    assert told(()) == ""


@pytest.mark.parametrize(
    ("lost", "won", "expected"),
    [(0, 0, False), (4, 0, False), (5, 0, True), (20, 15, False), (1, 20, False)],  # 4 of 4 is luck once in 16 times
)
def test_a_fall_counts_only_beyond_luck(lost: int, won: int, expected: bool) -> None:
    clean = np.array([True] * lost + [False] * won + [True] * (60 - lost - won))
    right = np.array([False] * lost + [True] * won + [True] * (60 - lost - won))
    assert breaks(clean, right) is expected


def test_five_images_of_a_thousand_are_no_fall_worth_a_word() -> None:
    clean, right = np.ones(1000, bool), np.ones(1000, bool)
    right[:20] = False
    assert not breaks(clean, right)


def test_a_bounded_number_of_images_is_looked_at_evenly_spread() -> None:
    assert len(chosen(100_000, 28)) == MOST_IMAGES
    assert chosen(0, 224).tolist() == []
    rows = chosen(1000, 224)
    assert (rows[0], rows[-1]) == (0, 999)
    assert len(chosen(1000, 2048)) == 1
