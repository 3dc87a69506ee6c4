"""Faults of data and machine are found where they are planted, not where they are absent, and their changes are recipes."""

from typing import Any

import numpy as np
import pytest

from sortal.evaluation.diagnosis import changed, diagnose
from sortal.predictions import Predictions
from sortal.recipe import presets
from tests.evaluation.diagnosis.cases import CLASSES, SMALL, healthy, kinds, learnt, squares


def one(case: Any, kind: str) -> dict:
    found = [row for row in diagnose(case) if row["kind"] == kind]
    assert len(found) == 1, kinds(case)
    return found[0]


def told(labels: np.ndarray, said: np.ndarray, sure: np.ndarray, sources: tuple[str, ...] | None = None) -> Predictions:
    """Predictions of three classes: what is said, and how surely."""
    probs = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
    probs[np.arange(len(said)), said] = sure
    names = sources or tuple(f"{n}.png" for n in range(len(said)))
    return Predictions(names, CLASSES, probs.astype(np.float32), labels.astype(np.int64), ("test",) * len(said))


def test_a_rare_class_that_is_given_up_is_found_and_showing_it_more_often_cures_it() -> None:
    recipe, images = changed(SMALL, {"epochs": 6, "augment.crop": "none"}), squares((100, 100, 4), noise=240)
    found = one(learnt(recipe, *images), "imbalance-ignored")
    assert "training images: 'blue' 100, 'green' 100, 'red' 4; of 'blue'" in found["evidence"]
    assert "(between 0% and " in found["evidence"]
    assert found["change"] == {"sampler.name": "oversample", "sampler.power": 0.5}
    before, after = learnt(recipe, *images), learnt(changed(recipe, found["change"]), *images)
    assert "imbalance-ignored" not in kinds(after)
    recalls = [{row["class"]: row["recall"] for row in case.per_class["val"]}["red"] for case in (before, after)]
    assert recalls[1] > recalls[0]


def test_a_rare_class_that_is_recognised_as_often_needs_nothing() -> None:
    training = {"blue": 4000, "green": 4000, "red": 100}
    assert kinds(healthy(training=training)) == []
    behind = {"test": [{"class": name, "recall": 0.5 if name == "red" else 0.97, "support": 50} for name in CLASSES]}
    assert kinds(healthy(training=training, per_class=behind)) == ["imbalance-ignored"]
    assert kinds(healthy({"sampler.name": "balanced"}, training=training, per_class=behind)) == []


def test_a_rare_class_that_may_be_behind_by_luck_alone_is_no_imbalance() -> None:
    training = {"blue": 4000, "green": 4000, "red": 100}

    def judged(**red: object) -> dict:
        rows = [{"class": name, "recall": 0.97, "support": 500} for name in CLASSES if name != "red"]
        return {"test": [*rows, {"class": "red", "recall": 0.75, **red}]}

    assert kinds(healthy(training=training, per_class=judged(support=4))) == []
    found = one(healthy(training=training, per_class=judged(support=100)), "imbalance-ignored")
    assert "of 'red' 75% (between 66% and 82%)" in found["evidence"]
    scenes = judged(support=100, recall_interval=[0.4, 0.98])  # the hundred are of few scenes
    assert kinds(healthy(training=training, per_class=scenes)) == []


def test_rare_labels_among_several_count_more() -> None:
    training = {"blue": 4000, "green": 4000, "red": 100}
    behind = {"test": [{"class": name, "recall": 0.4 if name == "red" else 0.9, "support": 50} for name in CLASSES]}
    assert one(healthy({"task": "multi_label"}, training=training, per_class=behind), "imbalance-ignored")["change"] == {
        "loss.class_weights": "effective"
    }


def test_few_images_with_a_wide_interval_are_too_little_data() -> None:
    case = healthy(training={"a": 30, "b": 12, "c": 30}, metrics={"test": {"accuracy": 0.8, "accuracy_interval": [0.55, 0.92]}})
    found = one(case, "too-little-data")
    assert "72 training images are 24 a class, and the accuracy could be anything from 0.550 to 0.920" in found["evidence"]
    assert "first of 'b', which has 12" in found["cure"]
    assert found["change"]["strategy"] == "features"
    assert found["change"]["split.folds"] == 5
    changed(case.recipe, found["change"])  # raises for what is no recipe
    assert "too-little-data" not in kinds(healthy())


@pytest.mark.parametrize("name", presets.PRESETS.entries)
def test_whoever_trains_a_network_on_few_images_is_told_how_to_train_a_head_on_them(name: str) -> None:
    recipe = presets.named(name)
    metrics = {"test": {"accuracy": 0.8, "accuracy_interval": [0.55, 0.92]}}
    case = healthy(recipe=recipe, training={"a": 30, "b": 12}, metrics=metrics, history=())
    change = one(case, "too-little-data")["change"]
    assert changed(recipe, change).strategy == "features"
    assert changed(recipe, change).split.folds == 5


def test_a_learning_curve_that_still_rises_says_that_more_images_help() -> None:
    def curve(last: float) -> list[dict]:
        return [{"images": n, "accuracy": a, "accuracy_interval": [0, 1]} for n, a in ((100, 0.7), (400, 0.9), (800, last))]

    found = one(healthy(learning_curve=curve(0.94)), "too-little-data")
    assert "with 800 training images accuracy is 0.940, with 400 it was 0.900: it still rises" in found["evidence"]
    assert "too-little-data" not in kinds(healthy(learning_curve=curve(0.905)))


def test_a_gain_that_may_be_luck_says_nothing_and_one_beyond_it_names_the_class() -> None:
    def curve(interval: list[float | None]) -> list[dict]:
        gain = {"accuracy": 0.04, "interval": interval, "classes": {"blue": 0.01, "green": 0.09, "red": 0.02}}
        return [{"images": 400, "accuracy": 0.9}, {"images": 800, "accuracy": 0.94, "gain": gain}]

    assert "first of 'green', which gained most" in one(healthy(learning_curve=curve([0.01, 0.07])), "too-little-data")["cure"]
    for interval in ([-0.01, 0.09], [None, None]):  # none where all images are one group
        assert "too-little-data" not in kinds(healthy(learning_curve=curve(interval)))


def test_labels_that_check_found_wrong_are_label_noise() -> None:
    finding = {
        "kind": "label",
        "severity": "warning",
        "images": [f"{n}.png" for n in range(240)],
        "detail": "240 labels",
        "cure": "",
    }
    found = one(healthy(findings=[finding]), "label-noise")
    assert "240 images of 12,000 have a label that is likely wrong" in found["evidence"]
    assert found["change"] == {"loss.label_smoothing": 0.1}
    assert kinds(healthy(findings=[finding | {"images": ["1.png"]}])) == []


def test_wrong_labels_planted_among_held_out_images_are_label_noise_and_hard_images_are_not() -> None:
    random = np.random.default_rng(0)
    true = np.arange(600) % 3
    hard = random.random(600) < 0.04
    said = np.where(hard, (true + 1) % 3, true)
    sure = np.where(hard, random.uniform(0.4, 0.7, 600), random.uniform(0.85, 0.99, 600))
    assert kinds(healthy(predictions=told(true, said, sure))) == []
    wrong = true.copy()
    wrong[:48] = (true[:48] + 2) % 3  # 8% of the labels
    noisy = told(wrong, np.where(hard & (np.arange(600) >= 48), said, true), np.where(hard, 0.6, sure))
    found = one(healthy(predictions=noisy), "label-noise")
    assert "of all 600 it is wrong in" in found["evidence"]


@pytest.mark.slow
def test_a_network_trained_on_wrong_labels_is_diagnosed_from_its_predictions() -> None:
    images, labels, held = squares((40, 40, 40), held_out=60)
    noisy = labels.copy()
    wrong = np.random.default_rng(1).random(len(labels)) < 0.08
    noisy[wrong] = (labels[wrong] + 1) % 3
    found = kinds(with_predictions(images, noisy, held))
    assert "label-noise" in found
    assert "label-noise" not in kinds(with_predictions(images, labels, held))


def with_predictions(images: np.ndarray, labels: np.ndarray, held: np.ndarray) -> Any:
    """A real training with what the network says of held-out images."""
    from dataclasses import replace

    from sortal import engines
    from sortal.data.samples import Samples
    from sortal.evaluation.task import MULTI_CLASS
    from sortal.preprocess import Preprocess
    from sortal.training.fit import fit
    from tests.evaluation.diagnosis.cases import Held

    rows = {"train": np.flatnonzero(~held), "val": np.flatnonzero(held)}
    samples = Samples(CLASSES, labels, np.arange(len(labels), dtype=np.uint64), rows, Held(images))
    session = engines.load("torch").open(SMALL, Preprocess(size=16, resize=16), samples)
    fit(session, SMALL)
    probs = MULTI_CLASS.probabilities(session.predict("val"))
    names = tuple(str(row) for row in rows["val"])
    return replace(healthy(), predictions=Predictions(names, CLASSES, probs, labels[rows["val"]], ("val",) * len(names)))


@pytest.mark.parametrize(
    ("detail", "change"),
    [
        ("the border alone tells the class with accuracy 0.98", {"augment.crop": "resized", "augment.scale": [0.35, 0.8]}),
        ("the mean colour alone predicts it", {"augment.grey": 0.3, "augment.brightness": 0.4, "augment.saturation": 0.4}),
        ("the file size alone predicts it", {}),
    ],
)
def test_a_shortcut_that_check_found_is_told_with_what_hides_it(detail: str, change: dict) -> None:
    finding = {"kind": "shortcut", "severity": "severe", "images": [], "detail": detail, "cure": ""}
    case = healthy(findings=[finding])
    found = one(case, "shortcut")
    assert (found["severity"], found["evidence"], found["change"]) == ("severe", detail, change)
    changed(case.recipe, found["change"])


def test_copies_across_splits_are_leakage_told_by_what_they_did_to_the_score() -> None:
    copies = [f"{n}.png" for n in range(20)]
    finding = {"kind": "copies-across-splits", "severity": "severe", "images": copies, "detail": "20 copies", "cure": ""}
    labels = np.zeros(100, int)
    said = np.where(np.arange(100) < 20, 0, np.arange(100) % 2)  # right of every copy, of half the others
    case = healthy(findings=[finding], predictions=told(labels, said, np.full(100, 0.6)))
    found = one(case, "leakage")
    assert (
        "On the 20 of 100 judged images that have a copy elsewhere accuracy is 1.000, on the others 0.500, and 0.600"
        in found["evidence"]
    )
    assert found["severity"] == "severe"
    assert "leakage" not in kinds(healthy(predictions=told(labels, said, np.full(100, 0.6))))


def test_real_copies_across_splits_are_leakage(tmp_path: Any) -> None:
    """The findings are those of `sortal check` on real files."""
    from PIL import Image

    from sortal.health.check import findings
    from sortal.workflows import scan

    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for n in range(4):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{n}.png")
    (tmp_path / "test" / "a" / "9.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    rows = [finding.to_json() for finding in findings(scan(tmp_path))]
    assert "leakage" in kinds(healthy(findings=rows))
    (tmp_path / "test" / "a" / "9.png").unlink()
    rows = [finding.to_json() for finding in findings(scan(tmp_path))]
    assert "leakage" not in kinds(healthy(findings=rows))


@pytest.mark.parametrize(
    ("spent", "change", "part", "expected"),
    [
        (
            {"train": 500.0},
            {"precision": "float32"},
            "the training itself took 500 of 540 seconds, 900 images/s",
            {"precision": "auto", "layout": "auto"},
        ),
        ({"train": 500.0}, {"strategy": "last_layers", "frozen": "pixels"}, "the training itself", {"frozen": "stored"}),
        (
            {"train": 500.0},
            {"strategy": "staged", "weights": "default", "precision": "bf16"},
            "the training itself",
            {"strategy": "last_layers"},
        ),
        ({"train": 500.0}, {"precision": "bf16", "image_size": 224}, "the training itself", {"image_size": 160}),
        ({"prepare": 500.0}, {}, "preparing the images took 500 of 540 seconds (13,000 images decoded", {}),
        ({"finish": 500.0}, {}, "what comes after the training", {}),
    ],
)
def test_a_slow_training_names_its_slow_part(spent: dict, change: dict, part: str, expected: dict) -> None:
    seconds = {"prepare": 20.0, "train": 20.0, "finish": 20.0, "total": 540.0} | spent
    case = healthy(change, seconds=seconds)
    found = one(case, "slow")
    assert part in found["evidence"]
    assert found["change"] == expected
    changed(case.recipe, found["change"])


def test_views_that_took_long_to_compute_may_be_fewer() -> None:
    seconds = {"prepare": 500.0, "train": 20.0, "finish": 20.0, "total": 540.0}
    change = {"strategy": "features", "frozen": "stored", "augment.views": 4}
    found = one(healthy(change, seconds=seconds, work={"features_computed": 60_000}), "slow")
    assert "60,000 features computed" in found["evidence"]
    assert found["change"] == {"augment.views": 2}


@pytest.mark.parametrize(
    "seconds", [{"train": 500.0, "prepare": 500.0, "finish": 500.0, "total": 1500.0}, {"train": 100.0, "total": 110.0}, {}]
)
def test_what_is_quick_or_slow_in_all_parts_is_not_told(seconds: dict) -> None:
    assert "slow" not in kinds(healthy(seconds=seconds))


def test_memory_that_ran_out_is_told_with_batches_that_fit() -> None:
    note = "out of memory in epoch 1: from here on 4 images go through at once, not 16"
    found = one(healthy({"micro_batch": 4}, warnings=[note]), "short-of-memory")
    assert "In the end 4 of a batch of 16 went through at once" in found["evidence"]
    assert found["change"] == {"batch_size": 4, "optimizer.accumulate": 4, "micro_batch": 0}
    assert "short-of-memory" not in kinds(healthy({"micro_batch": 4}))  # that is how the user wanted it
    assert "short-of-memory" not in kinds(healthy(warnings=["the pixels need 10 MB, more than the stores may take"]))


def test_the_gravest_stands_first() -> None:
    shortcut = {"kind": "shortcut", "severity": "severe", "images": [], "detail": "the border", "cure": ""}
    training = {"a": 500, "b": 500, "c": 500}
    rows = diagnose(
        healthy({"augment.crop": "none"}, training=training, findings=[shortcut], warnings=["out of memory in epoch 2"])
    )
    assert [row["severity"] for row in rows] == sorted(
        (row["severity"] for row in rows), key=["severe", "warning", "note"].index
    )
    assert len(rows) == 3


def test_a_change_that_does_not_go_with_the_recipe_is_left_out_and_the_cure_stays() -> None:
    training = {"blue": 4000, "green": 4000, "red": 100}
    behind = {"test": [{"class": name, "recall": 0.4 if name == "red" else 0.9, "support": 50} for name in CLASSES]}
    blind = [{"epoch": n + 1, "loss": 0.1, "rate": 1e-3} for n in range(9)]
    found = diagnose(healthy({"split.val": 0.0, "split.test": 0.95}, history=blind, training=training, per_class=behind))
    by_kind = {row["kind"]: row for row in found}
    assert by_kind["no-validation"]["change"] == {}  # val and test together must leave images for training
    assert by_kind["no-validation"]["cure"]
