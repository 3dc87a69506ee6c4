"""Drift: an alarm where the answers are others than those of validation, and none where only chance differs."""

import math

import numpy as np

from sortal.evaluation.reference import Reference, reference
from sortal.serving.drift import ENOUGH, WINDOW, Watch, shift


def answers(shares: list[float], count: int, *, sure: float = 0.9, seed: int = 0) -> np.ndarray:
    """Probabilities whose likeliest class comes with these shares."""
    random = np.random.default_rng(seed)
    best = random.choice(len(shares), count, p=shares)
    high = np.clip(random.normal(sure, 0.05, count), 0.51, 1.0)
    probs_NK = np.repeat((1 - high)[:, None] / (len(shares) - 1), len(shares), axis=1)
    probs_NK[np.arange(count), best] = high
    return probs_NK.astype(np.float32)


def watched(before: np.ndarray, now: np.ndarray) -> Watch:
    watch = Watch(reference(before))
    for row in now:
        watch.saw(row)
    return watch


def test_the_same_stream_raises_no_alarm_at_any_moment() -> None:
    for seed in range(5):
        watch = Watch(reference(answers([0.5, 0.3, 0.2], 150, seed=seed)))
        for row in answers([0.5, 0.3, 0.2], 1500, seed=100 + seed):
            watch.saw(row)
            assert not watch.alarm


def test_other_classes_raise_it() -> None:
    watch = watched(answers([0.5, 0.5], 300), answers([0.9, 0.1], 600))
    assert watch.classes > 0.2
    assert watch.alarm


def test_less_confidence_raises_it() -> None:
    watch = watched(answers([0.5, 0.5], 300), answers([0.5, 0.5], 600, sure=0.6))
    assert watch.confidence > 0.2
    assert watch.classes < 0.2
    assert watch.alarm


def test_nothing_is_said_of_few_images_or_without_a_reference() -> None:
    few = watched(answers([0.5, 0.5], 300), answers([1.0, 0.0], ENOUGH - 1))
    assert math.isnan(few.classes)
    assert not few.alarm
    none = Watch(None)
    none.saw(np.array([0.5, 0.5], np.float32))
    assert math.isnan(none.confidence)
    assert not none.alarm


def test_only_the_newest_count() -> None:
    watch = watched(answers([0.5, 0.5], 300), answers([1.0, 0.0], WINDOW))
    assert watch.alarm
    for row in answers([0.5, 0.5], WINDOW, seed=3):
        watch.saw(row)
    assert not watch.alarm
    assert (len(watch.newest), int(watch.classes_K.sum()), int(watch.bins_B.sum())) == (WINDOW,) * 3


def test_the_index_is_that_of_the_books_less_what_chance_brings() -> None:
    before, now = np.array([500, 500]), np.array([900, 100])
    index = (0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5)
    assert math.isclose(shift(before, now), index - (1 / 1000 + 1 / 1000))
    assert shift(before, before) == 0
    assert math.isnan(shift(np.array([0, 0]), now))


def test_a_class_that_never_came_before_does_not_count_for_everything() -> None:
    assert math.isfinite(watched(answers([1.0, 0.0], 300), answers([0.99, 0.01], 600)).classes)
    assert not watched(answers([1.0, 0.0], 300), answers([0.99, 0.01], 600)).alarm


def test_the_reference_of_a_bundle_is_found(tmp_path) -> None:
    from sortal.workflows.serving import refer
    from tests.serving.served import colour_bundle

    kept = Reference((1, 2, 3), (0, 0, 0, 0, 0, 0, 0, 0, 0, 6))
    assert refer(colour_bundle(tmp_path / "with", reference=kept.to_dict())) == kept
    assert refer(colour_bundle(tmp_path / "without")) is None
    assert refer(colour_bundle(tmp_path / "damaged", reference={"classes": "many"})) is None
