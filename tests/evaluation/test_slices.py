"""Accuracy on parts of the images, by numbers and by words."""

import numpy as np

from sortal.evaluation.slices import OTHERS, shape_facts, slices


def test_numbers_are_divided_into_thirds_and_words_by_value() -> None:
    right_N = np.array([False] * 3 + [True] * 6)
    rows = slices(right_N, {"brightness": np.arange(9.0)}, {"camera": ["old"] * 3 + ["new"] * 6})
    by = {(row["by"], row["value"]): (row["images"], row["accuracy"]) for row in rows}
    assert len(by) == 5
    assert by["camera", "old"] == (3, 0.0)
    assert by["camera", "new"] == (6, 1.0)
    assert [count for (name, _), (count, _) in by.items() if name == "brightness"] == [3, 3, 3]


def test_what_does_not_divide_the_images_is_left_out() -> None:
    rows = slices(
        np.ones(4, bool), {"size": np.full(4, 7.0), "none": np.full(4, np.nan)}, {"camera": ["a"] * 4, "x": [None] * 4}
    )
    assert rows == []


def test_unknown_values_are_a_part_of_their_own_and_rare_words_come_together() -> None:
    words = [f"w{number:02d}" for number in range(20) for _ in range(2)] + [None]
    rows = slices(np.ones(41, bool), {}, {"site": words})
    values = [row["value"] for row in rows]
    assert {OTHERS, "unknown"} <= set(values)
    assert sum(row["images"] for row in rows) == 41


def test_a_column_of_many_numbers_is_divided_like_numbers() -> None:
    rows = slices(np.ones(60, bool), {}, {"age": [str(number) for number in range(60)]})
    assert [row["images"] for row in rows] == [20, 20, 20]


def test_the_shape_of_an_image_is_said_in_words() -> None:
    numbers, shapes = shape_facts([100, 300, 100, None], [200, 100, 105, None])
    assert shapes == ["upright", "wide", "about square", None]
    assert numbers["shorter side"][:3].tolist() == [100, 100, 100]


def test_images_of_one_group_make_the_interval_wider() -> None:
    right_N = np.array([True, False] * 20)
    alone = slices(right_N, {}, {"camera": ["a", "b"] * 20})
    together = slices(right_N, {}, {"camera": ["a"] * 20 + ["b"] * 20}, np.repeat(np.arange(4), 10))
    assert len(alone) == len(together) == 2
    assert together[0]["accuracy_interval"][1] - together[0]["accuracy_interval"][0] > 0.4
