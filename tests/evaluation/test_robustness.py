"""What breaks a model first is found, with any function from pixels to probabilities for a model."""

import numpy as np
import pytest

from sortal.augment.parameters import Position
from sortal.evaluation.corruptions import CORRUPTIONS
from sortal.evaluation.intervals import wilson
from sortal.evaluation.robustness import MOST_IMAGES, chosen, ranked, robustness, told
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
        "drop": None,
        "drop_interval": None,
        "broken": False,
        "tied": False,
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
    assert told(rows) == "nothing can be told of what breaks the model: on 12 images no fall in accuracy is beyond luck"
    assert told(()) == ""
    many = rows_where({"blur": (0, 0, 0, 0, 0)}, 250)
    assert told(many) == "none of the 1 corruptions takes 5% of the accuracy, on the same 250 images"


def rows_where(lost: dict[str, tuple[int, ...]], images: int, groups_N: np.ndarray | None = None) -> list:
    """Rows where a corruption costs the first so many images, at strengths 1 to 5."""
    clean_N = np.ones(images, bool)
    found = {name: [np.arange(images) >= count for count in counts] for name, counts in lost.items()}
    clean = {"corruption": "none", "strength": 0, "images": images, "accuracy": 1.0, "drop": None, "drop_interval": None}
    return [clean | {"broken": False, "tied": False}, *ranked(clean_N, found, groups_N)]


def broken(rows: list) -> list[bool]:
    return [row["broken"] for row in rows[1:]]


def test_a_fall_counts_from_the_strength_on_at_which_it_is_beyond_luck() -> None:
    rows = rows_where({"blur": (0, 2, 4, 5, 20)}, 60)  # 4 of 4 is luck once in 16 times, 5 of 5 once in 32
    assert broken(rows) == [False, False, False, True, True]
    assert [row["drop"] for row in rows[1:]] == pytest.approx([0, 2 / 60, 4 / 60, 5 / 60, 20 / 60])
    for row in rows[1:]:
        assert row["drop_interval"][0] <= row["drop"] <= row["drop_interval"][1]
        assert row["accuracy_interval"] == list(wilson(60 - round(60 * row["drop"]), 60))
    assert told(rows).startswith("blur breaks the model first: at strength 4 of 5 accuracy falls from 1.000 to 0.917, by 0.083")


def test_of_many_corruptions_each_is_asked_more_strictly() -> None:
    rows = rows_where({"blur": (0, 0, 0, 0, 5)} | {f"other {number}": (0,) * 5 for number in range(9)}, 60)
    assert not any(broken(rows))
    assert told(rows) == "nothing can be told of what breaks the model: on 60 images no fall in accuracy is beyond luck"


def test_images_of_one_group_fall_together_and_count_once() -> None:
    lost = {"blur": (0, 0, 0, 0, 20)}
    assert broken(rows_where(lost, 60))[-1]
    scenes_N = np.arange(60) // 10  # the twenty are of two scenes
    rows = rows_where(lost, 60, scenes_N)
    assert not any(broken(rows))
    assert rows[-1]["drop_interval"][0] <= 0 < rows[-1]["drop"] < rows[-1]["drop_interval"][1]
    alone = rows_where(lost, 60, np.zeros(60, np.int64))
    assert [(row["accuracy_interval"], row["drop_interval"], row["broken"]) for row in alone[1:]] == [(None, None, False)] * 5
    assert told(alone) == "nothing can be told of what breaks the model: of its 60 images all are of one group"
    assert "one group" in told(rows_where({"blur": (1,) * 5}, 1))


def test_what_cannot_be_told_from_the_first_is_said_to_be_tied() -> None:
    rows = rows_where({"noise": (0, 0, 0, 0, 0), "blur": (0, 0, 20, 20, 30), "jpeg": (0, 0, 18, 30, 40)}, 60)
    assert {row["corruption"]: row["tied"] for row in rows[1:]} == {"blur": True, "jpeg": True, "noise": False}
    assert rows[1]["corruption"] == "jpeg"
    assert told(rows).startswith("low JPEG quality (jpeg) breaks the model: at strength 3 of 5 accuracy falls from ")
    assert told(rows).endswith(", on the same 60 images; whether blur breaks it as early cannot be told")


def test_a_model_that_nothing_breaks_is_rarely_called_broken_though_much_is_tried_and_images_come_in_groups() -> None:
    generator, called, images_called = np.random.default_rng(0), 0, 0
    groups_N = np.repeat(np.arange(40), 4)
    for _ in range(200):
        clean_N = np.repeat(generator.random(40) < 0.8, 4)
        found = {f"{family}": [np.repeat(generator.random(40) < 0.8, 4) for _ in range(5)] for family in range(8)}
        called += any(row["broken"] for row in ranked(clean_N, found, groups_N))
        images_called += any(row["broken"] for row in ranked(clean_N, found))
    assert called / 200 <= 0.05
    assert images_called / 200 > 0.15


def test_five_images_of_a_thousand_are_no_fall_worth_a_word() -> None:
    assert not any(broken(rows_where({"blur": (20,) * 5}, 1000)))


def test_a_bounded_number_of_images_is_looked_at_evenly_spread() -> None:
    assert len(chosen(100_000, 28)) == MOST_IMAGES
    assert chosen(0, 224).tolist() == []
    rows = chosen(1000, 224)
    assert (rows[0], rows[-1]) == (0, 999)
    assert len(chosen(1000, 2048)) == 1
