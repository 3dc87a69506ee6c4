"""Faults of learning are found where they are planted in real trainings, and are cured by the change that is told."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sortal.evaluation.diagnosis import Case, changed, diagnose
from sortal.evaluation.diagnosis.case import Fed
from sortal.recipe import Recipe
from tests.evaluation.diagnosis.cases import SMALL, healthy, kinds, learnt, squares

STAGED = changed(
    SMALL,
    {
        "strategy": "staged",
        "epochs": 10,
        "schedule.head_only": 0.5,
        "schedule.name": "constant",
        "learning_rate": 0.02,
        "schedule.thawed_rate": 0.02,
    },
)
IMAGENET = Fed((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)


def planted(recipe: Recipe, kind: str, images: tuple | None = None) -> dict:
    """The diagnosis of a real training with this recipe."""
    found = {row["kind"]: row for row in diagnose(learnt(recipe, *(images or squares())))}
    assert kind in found, found
    return found[kind]


def cured(recipe: Recipe, change: dict, images: tuple | None = None) -> list[str]:
    """What is still found after a real training with the change."""
    return kinds(learnt(changed(recipe, change), *(images or squares())))


def test_nothing_is_wrong_with_a_healthy_training() -> None:
    assert kinds(healthy()) == []
    assert kinds(learnt(SMALL, *squares())) == []


def test_a_rate_that_is_too_high_is_found_and_a_tenth_of_it_cures_it() -> None:
    recipe = changed(SMALL, {"learning_rate": 0.3})
    found = planted(recipe, "rate-too-high")
    assert "where guessing costs 1.10; the learning rate is 0.3" in found["evidence"]
    assert found["change"] == {"learning_rate": 0.03, "schedule.warmup": 0.1, "optimizer.clip": 1.0}
    assert "rate-too-high" not in cured(recipe, found["change"])


@pytest.mark.parametrize(("rate", "name"), [(1.0, "adamw"), (5.0, "sgd")])
def test_a_training_that_a_rate_ruined_is_severe(rate: float, name: str) -> None:
    found = planted(changed(SMALL, {"learning_rate": rate, "optimizer.name": name}), "rate-too-high")
    assert found["severity"] == "severe"


def test_what_a_high_rate_does_is_not_told_as_other_faults() -> None:
    assert set(kinds(learnt(changed(SMALL, {"learning_rate": 1.0}), *squares()))) == {"rate-too-high"}


def test_a_loss_that_never_leaves_the_guess_at_a_high_rate_is_its_fault() -> None:
    history = [{"epoch": n + 1, "loss": 1.1, "rate": 0.5, "log_loss": 1.1} for n in range(6)]
    assert kinds(healthy({"learning_rate": 0.5}, history=history)) == ["rate-too-high"]


def test_a_loss_that_jumps_while_the_rate_is_high_is_found_and_after_a_restart_it_is_not() -> None:
    losses = [1.0, 0.5, 0.9, 0.4, 0.8, 0.35, 0.3, 0.2]
    history = [{"epoch": n + 1, "loss": loss, "rate": 0.01, "log_loss": loss} for n, loss in enumerate(losses)]
    assert "rate-too-high" in kinds(healthy(history=history))
    assert "rate-too-high" not in kinds(healthy({"schedule.restarts": 2}, history=history))


def test_a_full_training_of_a_pretrained_network_at_a_high_rate_is_cured_by_stages() -> None:
    history = [{"epoch": n + 1, "loss": 3.0 - n * 0.1, "rate": 0.1, "log_loss": 3.0} for n in range(6)]
    change = {"strategy": "full", "weights": "default", "model": "tf_efficientnet_lite0", "learning_rate": 0.1}
    (found,) = [row for row in diagnose(healthy(change, history=history)) if row["kind"] == "rate-too-high"]
    assert found["change"]["strategy"] == "staged"
    assert found["change"]["learning_rate"] == 0.01


def test_thawed_layers_that_learn_too_fast_are_found_and_slower_ones_are_not() -> None:
    images = squares(noise=235)
    recipe = changed(STAGED, {"schedule.thawed_rate": 50.0})
    found = planted(recipe, "thawed-rate-too-high", images)
    assert "layers thaw in epoch 6, and the validation's loss went from 1.048 before it to" in found["evidence"]
    assert found["change"] == {"schedule.thawed_rate": 5.0}
    assert "thawed-rate-too-high" not in kinds(learnt(STAGED, *images))


def test_a_network_that_thaws_stage_by_stage_is_looked_at_where_it_thaws() -> None:
    losses = [1.0, 0.6, 0.5, 1.4, 0.9, 0.7]
    history = [{"epoch": n + 1, "loss": loss, "rate": 0.01, "log_loss": loss} for n, loss in enumerate(losses)]
    change = {"strategy": "progressive", "thaw.epochs": [[1, 0], [4, 1]], "epochs": 6, "learning_rate": 0.01}
    (found,) = [row for row in diagnose(healthy(change, history=history)) if row["kind"] == "thawed-rate-too-high"]
    assert "layers thaw in epoch 4" in found["evidence"]
    assert found["change"] == {"learning_rate": 0.001}


@pytest.fixture(scope="module")
def by_heart() -> tuple[Recipe, tuple]:
    """Few images with labels that mean nothing: all that can be learnt is these images."""
    images, labels, held = squares((8, 8, 8))
    return changed(SMALL, {"epochs": 40, "head.dropout": 0.0, "augment.crop": "none", "optimizer.weight_decay": 0.0}), (
        images,
        np.random.default_rng(3).permutation(labels),
        held,
    )


def test_images_learnt_by_heart_are_overfitting(by_heart: tuple[Recipe, tuple]) -> None:
    recipe, images = by_heart
    found = planted(recipe, "overfitting", images)
    assert "the loss on validation images was lowest in epoch 1" in found["evidence"]
    assert (found["severity"], found["change"]) == ("warning", {"best.monitor": "log_loss", "stop.patience": 4})


def test_cures_of_overfitting_come_one_at_a_time() -> None:
    rising = [{"epoch": n + 1, "loss": 0.5**n, "rate": 1e-3, "log_loss": 0.3 + 0.1 * n} for n in range(10)]
    recipe = {"augment.crop": "none", "head.dropout": 0.0, "optimizer.weight_decay": 0.0}
    changes = []
    for _ in range(5):
        (found,) = [row for row in diagnose(healthy(recipe, history=rising)) if row["kind"] == "overfitting"]
        changes.append(found["change"])
        recipe |= found["change"]
    assert changes == [
        {"best.monitor": "log_loss", "stop.patience": 3},
        {"augment.crop": "padded"},
        {"head.dropout": 0.3},
        {"optimizer.weight_decay": 1e-3},
        {},
    ]
    assert "a smaller network" in found["cure"]
    assert found["severity"] == "note"  # the best epoch is shipped, not the last


def test_the_cure_of_overfitting_ships_an_epoch_before_it(by_heart: tuple[Recipe, tuple]) -> None:
    recipe, images = by_heart
    before = learnt(recipe, *images)
    (found,) = [row for row in diagnose(before) if row["kind"] == "overfitting"]
    after = learnt(changed(recipe, found["change"]), *images)
    assert len(after.history) < len(before.history)
    assert min(after.held_out) < before.held_out[-1] - 0.2


def test_held_out_loss_far_above_the_trainings_is_overfitting_without_validation_curves_too() -> None:
    history = [{"epoch": n + 1, "loss": 0.9 * 0.5**n, "rate": 1e-3} for n in range(10)]
    case = healthy({"strategy": "features", "split.folds": 5}, history=history, metrics={"cross_validation": {"log_loss": 0.6}})
    (found,) = [row for row in diagnose(case) if row["kind"] == "overfitting"]
    assert "on held-out images 0.600" in found["evidence"]
    near = replace(case, metrics={"cross_validation": {"log_loss": 0.05}})
    assert "overfitting" not in kinds(near)


def test_a_training_loss_of_mixed_images_is_compared_with_nothing() -> None:
    history = [{"epoch": n + 1, "loss": 0.01, "rate": 1e-3, "log_loss": 0.6} for n in range(10)]
    assert "overfitting" in kinds(healthy(history=history))
    assert "overfitting" not in kinds(healthy({"augment.mixup": 0.2}, history=history))


def test_smoothed_labels_are_no_underfitting() -> None:
    """With a share of 0.3 of three classes a model that is always right still has a loss of 0.64."""
    history = [{"epoch": n + 1, "loss": 0.68, "rate": 1e-3, "log_loss": 0.25} for n in range(10)]
    assert kinds(healthy({"loss.label_smoothing": 0.3}, history=history)) == []
    assert kinds(healthy(history=history)) == ["underfitting"]


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ({"learning_rate": 1e-6}, {"learning_rate": 1e-3}),
        (
            {"head.dropout": 0.97, "optimizer.weight_decay": 20.0, "epochs": 20},
            {"head.dropout": 0.0, "optimizer.weight_decay": 1e-4},
        ),
    ],
)
def test_images_that_are_hardly_learnt_are_underfitting_and_the_change_cures_it(fault: dict, change: dict) -> None:
    recipe = changed(SMALL, fault)
    found = planted(recipe, "underfitting")
    assert found["change"] == change
    assert "where guessing costs 1.099; in the last " in found["evidence"]
    assert "underfitting" not in cured(recipe, change)


def test_too_small_a_network_is_to_become_a_larger_one() -> None:
    history = [{"epoch": n + 1, "loss": 0.9, "rate": 1e-3, "log_loss": 0.9} for n in range(10)]
    (found,) = diagnose(healthy(history=history))
    assert (found["kind"], found["change"]) == ("underfitting", {"model": "compact_s"})
    assert found["evidence"].endswith("in the last 2 epochs it fell by 0.000 on training images")
    history[-1]["loss"], history[-3]["loss"] = 0.85, 0.95
    assert "in the last 2 epochs it fell by 0.100" in diagnose(healthy(history=history))[0]["evidence"]
    (frozen,) = [
        row
        for row in diagnose(healthy({"strategy": "features", "model": "resnet10t"}, history=history))
        if row["kind"] == "underfitting"
    ]
    assert frozen["change"] == {"head.kind": "mlp"}


def test_a_head_that_was_solved_for_has_no_rate_to_lower_and_a_change_of_it_makes_it_one_that_is_trained() -> None:
    whole = {"learning_rate": 1e-3, "batch_size": 32, "head.dropout": 0.0}
    solved = {
        "strategy": "features",
        "model": "resnet10t",
        "optimizer.name": "lbfgs",
        "optimizer.weight_decay": 4e-3,
        "epochs": 3,
    }
    history = [
        {"epoch": n + 1, "loss": 1.6, "rate": 1e-3} for n in range(3)
    ]  # above a guess: an image may be far from all others
    found = {row["kind"]: row for row in diagnose(healthy(whole | solved, history=history))}
    assert "rate-too-high" not in found
    assert found["underfitting"]["change"] == {
        "head.kind": "mlp", "optimizer.name": "adamw", "optimizer.weight_decay": 1e-3, "epochs": 40
    }  # fmt: skip


def test_a_training_that_ended_early_is_not_converged_and_twice_the_epochs_cure_it() -> None:
    recipe = changed(SMALL, {"epochs": 4, "learning_rate": 1e-3})
    found = planted(recipe, "not-converged")
    assert found["change"] == {"epochs": 8}
    assert "in the last 2 of 4 epochs the training's loss fell from" in found["evidence"]
    assert "not-converged" not in cured(recipe, found["change"])


def test_a_training_that_was_stopped_had_converged() -> None:
    history = [{"epoch": n + 1, "loss": 1 - n * 0.2, "rate": 1e-3, "log_loss": 1 - n * 0.2} for n in range(4)]
    assert "not-converged" in kinds(healthy({"epochs": 4}, history=history))
    assert "not-converged" not in kinds(healthy({"epochs": 40}, history=history))


def test_weights_fed_with_other_colours_than_they_were_trained_with_are_found() -> None:
    pretrained = {"strategy": "features", "weights": "default", "model": "resnet18"}
    wrong = healthy(pretrained, fed=Fed((0.5,) * 3, (0.5,) * 3, 224), wanted=IMAGENET)
    found = diagnose(wrong)[0]
    assert (found["kind"], found["severity"]) == ("wrong-preprocessing", "severe")
    assert "mean 0.500, 0.500, 0.500" in found["evidence"]
    assert "0.485, 0.456, 0.406" in found["evidence"]
    right = healthy(pretrained, fed=IMAGENET, wanted=IMAGENET)
    assert "wrong-preprocessing" not in kinds(right)
    assert "wrong-preprocessing" not in kinds(healthy(fed=Fed((0.5,) * 3, (0.5,) * 3, 16)))  # no weights, nothing to be wrong


def test_weights_fed_with_far_smaller_pictures_are_found_unless_the_stem_is_made_for_them() -> None:
    pretrained = {"strategy": "features", "weights": "default", "model": "resnet18", "image_size": 64}
    small = Fed(IMAGENET.mean, IMAGENET.std, 64)
    (found,) = [
        row for row in diagnose(healthy(pretrained, fed=small, wanted=IMAGENET)) if row["kind"] == "wrong-preprocessing"
    ]
    assert found["evidence"] == "the network sees 64 pixels a side, its weights were trained on 224"
    assert found["change"] == {"image_size": 224}
    assert "wrong-preprocessing" not in kinds(healthy(pretrained | {"stem": "small"}, fed=small, wanted=IMAGENET))


@pytest.mark.parametrize(
    ("images", "severity"), [({"a": 100, "b": 100}, "warning"), ({"a": 3000, "b": 3000}, "note"), ({"a": 30_000, "b": 1}, None)]
)
def test_few_images_without_augmentation_are_found(images: dict[str, int], severity: str | None) -> None:
    found = {row["kind"]: row for row in diagnose(healthy({"augment.crop": "none"}, training=images))}
    assert found.get("no-augmentation", {}).get("severity") == severity
    assert "no-augmentation" not in kinds(healthy(training=images))


def test_stored_views_are_made_several_where_augmentation_begins() -> None:
    change = {"strategy": "features", "augment.crop": "none", "augment.views": 1, "image_size": 224}
    (found,) = [row for row in diagnose(healthy(change, training={"a": 50, "b": 50})) if row["kind"] == "no-augmentation"]
    assert found["change"] == {"augment.crop": "resized", "augment.views": 4}


def test_a_pretrained_network_that_is_trained_whole_on_few_images_is_to_be_frozen_first() -> None:
    change = {"strategy": "full", "weights": "default", "model": "resnet18"}
    few = healthy(change, training={"a": 100, "b": 100})
    (found,) = [row for row in diagnose(few) if row["kind"] == "not-frozen"]
    assert found["change"] == {"strategy": "staged"}
    assert "all 60,000 weights" in found["evidence"]
    assert "not-frozen" not in kinds(healthy(change))
    assert "not-frozen" not in kinds(healthy(training={"a": 100, "b": 100}))  # from scratch there is nothing to freeze


def test_a_training_that_nobody_watched_is_told() -> None:
    blind = [{key: row[key] for key in ("epoch", "loss", "rate")} for row in healthy().history]
    found = diagnose(healthy({"split.val": 0.0}, history=blind))
    assert [row["kind"] for row in found] == ["no-validation"]
    assert found[0]["change"] == {"split.val": 0.1}
    assert kinds(healthy({"strategy": "features", "split.folds": 5}, history=blind)) == []


@pytest.mark.parametrize("make", [lambda: Case(SMALL, {}), lambda: Case(SMALL, {"a": 1}), lambda: healthy(history=[])])
def test_a_case_of_which_little_is_known_is_no_error(make: Callable[[], Case]) -> None:
    assert isinstance(diagnose(make()), tuple)


def test_what_an_overfitted_network_is_sure_of_is_not_told_as_wrong_labels() -> None:
    """It is sure of its mistakes too, whatever the labels are."""
    from sortal.predictions import Predictions

    labels = np.arange(300) % 3
    said = np.where(np.arange(300) < 60, (labels + 1) % 3, labels)
    probs = np.full((300, 3), 0.005, np.float32)
    probs[np.arange(300), said] = 0.99
    sure = Predictions(tuple(map(str, range(300))), ("blue", "green", "red"), probs, labels, ("test",) * 300)
    rising = [{"epoch": n + 1, "loss": 0.5**n, "rate": 1e-3, "log_loss": 0.3 + 0.1 * n} for n in range(10)]
    assert "label-noise" in kinds(healthy(predictions=sure))
    found = kinds(healthy(predictions=sure, history=rising))
    assert "overfitting" in found
    assert "label-noise" not in found


def test_a_training_loss_that_rises_at_a_thaw_is_no_fault_of_the_rate() -> None:
    """The curves of ants and bees in docs/diagnosis: thawed batch norms see each batch alone, and validation does not mind."""
    losses, held_out = (0.37, 0.14, 0.09, 0.07, 0.31, 0.23, 0.23, 0.17), (0.23, 0.23, 0.24, 0.24, 0.28, 0.29, 0.28, 0.29)
    history = [
        {"epoch": n + 1, "loss": loss, "rate": 3e-3, "log_loss": other}
        for n, (loss, other) in enumerate(zip(losses, held_out, strict=True))
    ]
    change = {"strategy": "staged", "epochs": 8, "schedule.head_only": 0.5, "weights": "default", "model": "resnet18"}
    two = {"ants": 6000, "bees": 6000}
    assert "thawed-rate-too-high" not in kinds(healthy(change, history=history, training=two))
    blind = [{key: row[key] for key in ("epoch", "loss", "rate")} for row in history]
    assert "thawed-rate-too-high" not in kinds(healthy(change, history=blind, training=two))
    ruined = [row | {"loss": row["loss"] + (n >= 4)} for n, row in enumerate(blind)]
    assert "thawed-rate-too-high" in kinds(healthy(change, history=ruined, training=two))
