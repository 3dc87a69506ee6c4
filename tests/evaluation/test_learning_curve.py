"""Would more images help, and of which class: a curve rises where it should, and is left out where it would mean nothing."""

from typing import Any

import numpy as np

from sortal.evaluation.learning_curve import fitted_head, learning_curve


def features(each: int, classes: int, dimensions: int, apart: float, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dimensions)) * apart
    labels_N = np.repeat(np.arange(classes), each)
    return centres[labels_N] + generator.normal(size=(len(labels_N), dimensions)), labels_N


def halves(labels_N: Any) -> list[tuple[Any, Any]]:
    rows = np.random.default_rng(0).permutation(len(labels_N))
    return [(rows[::2], rows[1::2])]


def test_with_many_features_and_few_images_the_curve_rises_to_its_end() -> None:
    features_ND, labels_N = features(100, 3, 120, 0.16)
    rows = learning_curve(features_ND, labels_N, halves(labels_N), ["a", "b", "c"])
    assert [row["images"] for row in rows] == sorted({row["images"] for row in rows})
    assert rows[-1]["images"] == 150
    assert rows[-1]["accuracy"] > rows[0]["accuracy"] + 0.1
    low, high = rows[-1]["gain"]["interval"]
    assert low < rows[-1]["gain"]["accuracy"] < high
    assert rows[-1]["gain"]["accuracy"] > 0.02
    for row in rows:
        assert row["accuracy_interval"][0] <= row["accuracy"] <= row["accuracy_interval"][1]


def test_where_classes_are_far_apart_more_images_gain_nothing() -> None:
    features_ND, labels_N = features(60, 2, 3, 3.0)
    rows = learning_curve(features_ND, labels_N, halves(labels_N), ["a", "b"])
    assert rows[-1]["accuracy"] > 0.97
    assert abs(rows[-1]["gain"]["accuracy"]) < 0.02


def test_the_class_that_more_images_would_help_is_told() -> None:
    generator = np.random.default_rng(0)
    easy = generator.normal(size=(150, 60)) + 3
    hard = [generator.normal(size=(150, 60)) + sign * 0.13 for sign in (-1, 1)]
    features_ND, labels_N = np.concatenate([easy, *hard]), np.repeat(np.arange(3), 150)
    gain = learning_curve(features_ND, labels_N, halves(labels_N), ["easy", "one", "two"])[-1]["gain"]["classes"]
    assert abs(gain["easy"]) < 0.01
    assert max(gain["one"], gain["two"]) > 0.01


def test_folds_judge_every_image_once() -> None:
    features_ND, labels_N = features(40, 2, 5, 1.0)
    order = np.random.default_rng(0).permutation(80)
    folds = [(np.setdiff1d(order, order[fold::4]), order[fold::4]) for fold in range(4)]
    told = []
    rows = learning_curve(features_ND, labels_N, folds, ["a", "b"], advance=lambda done, total: told.append((done, total)))
    assert rows[-1]["images"] == 60
    assert told[-1][0] == told[-1][1] == len(told)


def test_no_curve_is_drawn_where_it_would_mean_nothing() -> None:
    features_ND, labels_N = features(20, 2, 3, 1.0)
    assert learning_curve(features_ND, labels_N, [], ["a", "b"]) == []
    only = [(np.array([0, 20, 21, 22]), np.array([5, 30]))]  # one image of the first class
    assert learning_curve(features_ND, labels_N, only, ["a", "b"]) == []


def test_a_class_that_is_never_judged_has_no_recall() -> None:
    features_ND, labels_N = features(20, 3, 4, 1.0)
    rows = learning_curve(features_ND, labels_N, [(np.arange(60), np.arange(40))], ["a", "b", "c"])
    assert rows[-1]["recall"]["c"] is None
    assert "c" not in rows[-1]["gain"]["classes"]


def test_a_head_learns_what_a_line_divides() -> None:
    features_ND, labels_N = features(50, 2, 2, 4.0)
    head = fitted_head(features_ND / 10, labels_N, 2)
    assert (head(features_ND / 10).argmax(axis=1) == labels_N).mean() > 0.97
