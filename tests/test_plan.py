"""What is planned for which images on which machine."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.errors import RecipeError
from sortal.manifest import SCHEMA, Manifest
from sortal.plan import BANDS, FEW, Facts, Machine, facts, for_images, plan
from sortal.recipe import Best, Recipe, Sampler, override, parsed

PROCESSOR = Machine(cores=2, accelerator="", name="a processor")
GRAPHICS = Machine(cores=16, accelerator="cuda", name="a graphics card")
PHOTOGRAPHS = Facts(245, 244, ("ants", "bees"), 121, 124, side=500.0, grey=False, given_splits=("train", "val"))
CLOTHES = Facts(60_000, 59_000, ("coat", "dress"), 6000, 6000, side=28.0, grey=True, given_splits=("train", "test"))


def test_few_photographs_keep_the_network_frozen_and_are_cross_validated() -> None:
    recipe, why = plan(PHOTOGRAPHS, PROCESSOR)
    assert (recipe.strategy, recipe.split.folds, recipe.split.val, recipe.best.monitor) == ("features", 5, 0.0, "last")
    assert any("245 training images are few" in decision.reason for decision in why)


def test_there_are_no_more_folds_than_images_that_are_no_copies() -> None:
    assert plan(replace(PHOTOGRAPHS, training_images=9, independent=3), PROCESSOR)[0].split.folds == 3


@pytest.mark.parametrize(("smallest", "sampler"), [(124, "shuffle"), (13, "shuffle"), (12, "oversample")])
def test_rare_classes_come_more_often_where_the_largest_has_ten_times_their_images(smallest: int, sampler: str) -> None:
    recipe, why = plan(replace(PHOTOGRAPHS, smallest_class=smallest), PROCESSOR)
    assert (recipe.sampler.name, recipe.loss.class_weights) == (sampler, "none")
    told = [decision for decision in why if decision.key.startswith("sampler")]
    assert bool(told) == (sampler != "shuffle")
    assert all("set sampler." in decision.reason for decision in told)


def test_a_frozen_network_gets_the_square_root_of_the_imbalance_and_one_from_scratch_batches_without_any() -> None:
    frozen, why = plan(replace(PHOTOGRAPHS, smallest_class=5), PROCESSOR)
    assert frozen.sampler == Sampler(name="oversample", power=0.5)
    assert {"sampler.name", "sampler.power"} <= {decision.key for decision in why}
    assert plan(replace(CLOTHES, smallest_class=600), PROCESSOR)[0].sampler == Sampler(name="balanced")


@pytest.mark.parametrize("key", ["loss.class_weights", "sampler.name"])
def test_who_takes_the_balance_of_classes_in_hand_is_not_contradicted(key: str) -> None:
    rare = replace(PHOTOGRAPHS, smallest_class=5)
    recipe, why = plan(rare, PROCESSOR, settled={key: object()})
    assert recipe.sampler == Sampler()
    assert not any(decision.key.startswith("sampler") for decision in why)
    assert plan(rare, PROCESSOR, settled={"epochs": 5})[0].sampler.name == "oversample"


def test_the_head_on_few_photographs_is_solved_for_with_a_decay_of_one_over_the_images() -> None:
    recipe, why = plan(PHOTOGRAPHS, PROCESSOR)
    assert recipe.optimizer.name == "lbfgs"
    assert recipe.optimizer.weight_decay == pytest.approx(1 / PHOTOGRAPHS.training_images)
    assert {"optimizer.name", "optimizer.weight_decay"} <= {decision.key for decision in why}


@pytest.mark.parametrize("key", ["learning_rate", "head.kind", "strategy", "optimizer.clip", "loss.name", "sampler.name"])
def test_who_takes_the_learning_in_hand_gets_a_head_that_is_trained(key: str) -> None:
    assert plan(PHOTOGRAPHS, PROCESSOR, settled={key: object()})[0].optimizer.name == "adamw"
    assert plan(PHOTOGRAPHS, PROCESSOR, settled={"epochs": 5, "augment.flip": 0.5})[0].optimizer.name == "lbfgs"


def test_a_head_that_sees_rare_classes_more_often_is_trained() -> None:
    assert plan(replace(PHOTOGRAPHS, smallest_class=5), PROCESSOR)[0].optimizer.name == "adamw"


def manifest_of(rows: Sequence[tuple[str, str | None, int]]) -> Manifest:
    """So many images of a class in a split."""
    one = dict.fromkeys(SCHEMA.names) | {"width": 8, "height": 8, "grey": True}
    full = [one | {"source": f"{n}", "labels": [label], "split": split} for label, split, count in rows for n in range(count)]
    return Manifest(pa.Table.from_pylist(full, schema=SCHEMA), ("a", "b", "c"), "/photographs", ("train", "test"))


def test_imbalance_is_that_of_the_images_that_may_train() -> None:
    found = facts(manifest_of([("a", "train", 30), ("b", "train", 3), ("a", "test", 20), ("b", "test", 20)]), independent=33)
    assert (found.largest_class, found.smallest_class) == (30, 3)
    undivided = facts(manifest_of([("a", None, 30), ("b", None, 3), ("b", "val", 20)]), independent=33)
    assert (undivided.largest_class, undivided.smallest_class) == (30, 3)
    nothing = facts(manifest_of([("a", "test", 2)]), independent=0)
    assert nothing.largest_class == nothing.smallest_class  # that there is nothing to train on is told later


def test_thousands_of_small_images_get_a_network_of_their_size_and_colour() -> None:
    recipe, _ = plan(CLOTHES, PROCESSOR)
    assert (recipe.strategy, recipe.model, recipe.image_size, recipe.channels) == ("scratch", "brisk", 28, 1)
    colour, _ = plan(replace(CLOTHES, grey=False, side=33.0), PROCESSOR)
    assert (colour.image_size, colour.channels) == (33, 3)


def test_an_accelerator_trains_longer_on_small_images() -> None:
    here, there = plan(CLOTHES, PROCESSOR)[0], plan(CLOTHES, GRAPHICS)[0]
    assert here.epochs < there.epochs
    assert here.batch_size < there.batch_size
    assert (here.grow.start < 1, there.grow.start) == (True, 1), "kernels and graphs are made for one side"
    fewer = plan(replace(CLOTHES, training_images=30_000), GRAPHICS)[0]
    assert fewer.epochs > there.epochs, "large batches make too few steps of them"
    assert fewer.batch_size < there.batch_size


def test_few_small_images_get_a_narrow_network_and_small_batches() -> None:
    few, why = plan(replace(CLOTHES, training_images=5_000), PROCESSOR)
    many, _ = plan(CLOTHES, PROCESSOR)
    assert (few.model, many.model) == ("brisk_s", "brisk")
    assert few.batch_size < many.batch_size
    assert few.epochs > many.epochs
    assert "5,000 images" in {each.key: each.reason for each in why}["model"]


@pytest.mark.parametrize("machine", [PROCESSOR, GRAPHICS])
@pytest.mark.parametrize("side", [16.0, 24.0, 28.0, 32.0, 47.0, 64.0])
def test_small_images_get_the_words_that_help_them_and_each_is_told(machine: Machine, side: float) -> None:
    recipe, why = plan(replace(CLOTHES, side=side, classes=("shirt", "shoe")), machine)
    told = {each.key: each.reason for each in why}
    assert (recipe.start.whiten, recipe.start.identity, recipe.optimizer.name) == ("bias", True, "muon")
    assert (recipe.augment.alternate_flip, recipe.test_views) == (True, "mirror")
    assert {"start.whiten", "start.identity", "optimizer.name", "test_views", "augment.flip"} <= told.keys()
    assert (recipe.grow.start < 1) == ("grow.start" in told) == (side > 24 and machine is PROCESSOR)
    assert recipe.grow.first(recipe.image_size) in (16, 20, 28, 32, 40) or recipe.grow.start == 1


def test_images_that_may_not_be_mirrored_are_not_mirrored_when_they_are_judged_either() -> None:
    recipe, why = plan(replace(CLOTHES, classes=("0", "1")), PROCESSOR)
    assert (recipe.augment.flip, recipe.augment.alternate_flip, recipe.test_views) == (0, False, "one")
    assert "test_views" not in {each.key for each in why}


@pytest.mark.parametrize(("images", "band"), [(5_000, BANDS[0]), (50_000, BANDS[1]), (500_000, BANDS[2])])
def test_more_photographs_are_fine_tuned_with_their_bands_numbers(images: int, band: object) -> None:
    recipe, why = plan(replace(PHOTOGRAPHS, training_images=images), GRAPHICS)
    assert recipe.strategy == "staged"
    assert recipe.optimizer.layer_decay < 1
    found = (recipe.batch_size, recipe.optimizer.weight_decay, recipe.head.dropout)
    assert found == (band.batch_size, band.weight_decay, band.dropout)  # type: ignore[attr-defined]
    told = {each.key: each.reason for each in why}
    assert {"strategy", "batch_size", "optimizer.weight_decay", "head.dropout"} <= told.keys()
    assert band.learning_rate in told["learning_rate"]  # type: ignore[attr-defined]
    assert band.epochs in told["epochs"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given_splits", "val", "test"),
    [((), 0.05, 0.15), (("train", "test"), 0.05, 0.0), (("train", "val"), 0.0, 0.0), (("train", "val", "test"), 0.0, 0.0)],
)
def test_what_the_user_gave_is_not_divided_again(given_splits: tuple[str, ...], val: float, test: float) -> None:
    recipe, _ = plan(replace(CLOTHES, given_splits=given_splits), PROCESSOR)
    assert (recipe.split.val, recipe.split.test) == (val, test)


@pytest.mark.parametrize(
    ("classes", "flip"),
    [
        (("ants", "bees"), 0.5),
        (("0", "1", "7"), 0.0),
        (("b", "d"), 0.0),
        (("left_hand", "right_hand"), 0.0),
        (("10", "cat"), 0.0),
    ],
)
def test_images_are_mirrored_only_where_that_keeps_their_class(classes: tuple[str, ...], flip: float) -> None:
    recipe, why = plan(replace(PHOTOGRAPHS, classes=classes), PROCESSOR)
    assert recipe.augment.flip == flip
    assert any(decision.key == "augment.flip" and "augment.flip=" in decision.reason for decision in why)


@given(
    images=st.integers(2, 2_000_000),
    copies=st.integers(0, 5),
    side=st.floats(1, 20_000),
    grey=st.booleans(),
    given_splits=st.sampled_from([(), ("train",), ("train", "val"), ("train", "test"), ("train", "val", "test")]),
    machine=st.sampled_from([PROCESSOR, GRAPHICS]),
)
def test_every_plan_is_a_valid_recipe_with_reasons(
    images: int, copies: int, side: float, grey: bool, given_splits: tuple[str, ...], machine: Machine
) -> None:
    independent = max(1, images - copies)
    found = Facts(images, independent, ("a cat", "a dog"), 1, images, side, grey, given_splits)
    recipe, why = plan(found, machine)
    assert (recipe.strategy == "features") == (images < FEW)
    assert all(decision.reason for decision in why)
    assert recipe.split.folds or recipe.split.val or "val" in given_splits


ONE_WORD = (
    *(f"strategy={name}" for name in ("features", "last_layers", "full", "progressive", "staged", "scratch")),
    *(f"optimizer.name={name}" for name in ("sgd", "adam", "adamw", "rmsprop")),
    *(f"schedule.name={name}" for name in ("constant", "cosine", "linear", "step", "multi_step")),
    *(f"augment.{word}" for word in ("flip=0", "crop=none", "rotate=15", "rand_augment=2", "trivial_augment=true")),
    *("loss.name=focal", "loss.label_smoothing=0.1", "loss.class_weights=effective", "sampler.name=balanced"),
    *("weights=none", "image_size=64", "batch_size=16", "epochs=12", "learning_rate=0.01", "average.name=ema", "seed=3"),
)
FOR_SMALL = (
    "model=simple_cnn",
    "model=resnet18",
    "start.whiten=none",
    "start.whiten=frozen",
    "grow.start=1",
    "start.identity=false",
)
THOUSANDS = replace(PHOTOGRAPHS, training_images=5_000, independent=5_000, smallest_class=2_400, largest_class=2_600)
FEW_CLOTHES = replace(CLOTHES, training_images=900, independent=900)


@pytest.mark.parametrize("machine", [PROCESSOR, GRAPHICS], ids=lambda machine: machine.name)
@pytest.mark.parametrize("found", [PHOTOGRAPHS, THOUSANDS, CLOTHES, FEW_CLOTHES], ids=lambda found: f"{found.training_images}")
@pytest.mark.parametrize("setting", ONE_WORD)
def test_one_word_of_the_users_never_contradicts_what_is_planned(found: Facts, machine: Machine, setting: str) -> None:
    recipe, why = plan(found, machine, settled=parsed([setting]))
    assert override(recipe, [setting])
    assert all(decision.reason for decision in why)


@pytest.mark.parametrize("setting", FOR_SMALL)
@pytest.mark.parametrize("found", [CLOTHES, replace(CLOTHES, training_images=5_000)], ids=["many", "few"])
def test_one_word_about_a_network_for_small_images_never_contradicts_what_is_planned(found: Facts, setting: str) -> None:
    assert override(plan(found, PROCESSOR, settled=parsed([setting]))[0], [setting])


def test_the_users_strategy_brings_the_rate_and_the_division_that_go_with_it() -> None:
    whole, _ = plan(PHOTOGRAPHS, PROCESSOR, settled={"strategy": "full"})
    assert (whole.strategy, whole.learning_rate, whole.split.folds, whole.split.val) == ("full", 1e-4, 0, 0.0)
    scratch, _ = plan(PHOTOGRAPHS, PROCESSOR, settled={"strategy": "scratch"})
    assert (scratch.weights, scratch.image_size, scratch.optimizer.name) == ("none", 128, "adamw")
    frozen, _ = plan(CLOTHES, PROCESSOR, settled={"strategy": "features"})
    assert (frozen.strategy, frozen.split.folds, frozen.optimizer.name) == ("features", 5, "adamw")
    folded, why = plan(CLOTHES, PROCESSOR, settled={"split.folds": 3, "weights": "none"})
    assert folded.strategy == "features"
    assert next(decision.reason for decision in why if decision.key == "strategy").startswith("cross-validation")


def test_the_users_optimiser_brings_its_rate_and_decay() -> None:
    by_sgd, _ = plan(CLOTHES, PROCESSOR, settled={"optimizer.name": "sgd"})
    by_adamw, _ = plan(CLOTHES, PROCESSOR, settled={"optimizer.name": "adamw"})
    assert by_sgd.learning_rate == pytest.approx(10 * by_adamw.learning_rate)
    assert (by_sgd.optimizer.weight_decay, by_adamw.optimizer.weight_decay) == (5e-4, 0.05)


@pytest.mark.parametrize(("images", "brightness", "erase"), [(500, 0.4, 0.25), (5_000, 0.2, 0.0), (50_000, 0.0, 0.0)])
def test_what_is_trained_anew_each_epoch_is_varied_more_the_fewer_images_there_are(
    images: int, brightness: float, erase: float
) -> None:
    found = replace(PHOTOGRAPHS, training_images=images, independent=images)
    recipe, why = plan(found, PROCESSOR, settled={"strategy": "staged"})
    assert (recipe.augment.brightness, recipe.augment.erase, recipe.augment.flip) == (brightness, erase, 0.5)
    assert ("augment.brightness" in {decision.key for decision in why}) == bool(brightness)


def test_several_labels_are_monitored_by_a_score_without_thresholds_and_are_not_weighted() -> None:
    several = replace(PHOTOGRAPHS, training_images=5_000, smallest_class=20, largest_class=4_000, task="multi_label")
    recipe, why = plan(several, PROCESSOR)
    one, _ = plan(replace(several, task="multi_class"), PROCESSOR)
    assert one.sampler.name == "oversample"
    assert (recipe.sampler.name, recipe.loss.class_weights) == ("shuffle", "none")
    assert recipe.best.monitor != "accuracy"
    assert any("threshold of its own" in decision.reason for decision in why)


def labelled(*labels: list[str]) -> Manifest:
    rows = [{"source": f"{row}.png", "content": f"{row:064x}", "labels": names} for row, names in enumerate(labels)]
    return Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), ("ant", "bee"), "/photos")


def test_the_images_settle_the_task_and_the_reason_is_told() -> None:
    one, why = for_images(Recipe(), labelled(["ant"], ["bee"]))
    assert (one.task, why) == ("multi_class", [])
    several, (why_several,) = for_images(Recipe(), labelled(["ant"], ["ant", "bee"], []))
    assert several.task == "multi_label"
    assert why_several.reason == "1 image has several labels, the first 1.png; 1 image has no label, the first 2.png"
    asked = Recipe(task="multi_label")
    assert for_images(asked, labelled(["ant"], ["bee"])) == (asked, [])


def test_a_recipe_that_contradicts_the_images_is_refused_with_place_value_and_cure() -> None:
    with pytest.raises(RecipeError, match=r"task: expected one label .* the first 1\.png") as caught:
        for_images(Recipe(task="multi_class"), labelled(["ant"], ["ant", "bee"]))
    assert "task='multi_label'" in caught.value.hint
    with pytest.raises(RecipeError, match=r"best\.monitor.*mean_average_precision"):
        for_images(Recipe(best=Best(monitor="accuracy")), labelled(["ant"], ["ant", "bee"]))
