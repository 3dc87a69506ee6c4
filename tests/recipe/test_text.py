"""Recipes as text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.errors import RecipeError
from sortal.recipe import Augment, Recipe, check_settings, flattened, override, presets, read, write


@given(
    epochs=st.integers(1, 10_000),
    rate=st.floats(1e-9, 1e3, allow_nan=False),
    model=st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text and "\r" not in text),
    flip=st.floats(0, 1),
)
def test_a_recipe_survives_its_own_toml(
    tmp_path_factory: pytest.TempPathFactory, epochs: int, rate: float, model: str, flip: float
) -> None:
    recipe = Recipe(epochs=epochs, learning_rate=rate, model=model, augment=Augment(flip=flip))
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    write(recipe, path)
    assert read(path) == recipe


def test_all_mistakes_are_told_at_once_with_place_value_and_cure(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epocs = 3\nbatch_size = "many"\n[augment]\nflip = 2\n[optimizer]\nname = "adma"\n')
    with pytest.raises(RecipeError) as caught:
        read(path)
    told = str(caught.value)
    assert "mine.toml" in told
    assert "epocs: unknown key, did you mean 'epochs'?" in told
    assert "batch_size: expected" in told
    assert "'many'" in told
    assert "augment.flip" in told
    assert "optimizer.name" in told
    assert len(caught.value.problems) == 4


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("epochs: 3")
    with pytest.raises(RecipeError, match=r"r\.toml"):
        read(tmp_path / "r.toml")


def test_settings_are_toml_values_and_bare_words_are_strings() -> None:
    recipe = override(Recipe(), ["epochs=5", "model=resnet18", "augment.scale=[0.5, 1.0]", "optimizer.decay_all=true"])
    assert (recipe.epochs, recipe.model, recipe.augment.scale, recipe.optimizer.decay_all) == (5, "resnet18", (0.5, 1.0), True)


def test_a_setting_without_a_value_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="expected KEY=VALUE"):
        override(Recipe(), ["epochs"])


def test_settings_are_judged_before_the_recipe_is_known_by_their_own_keys_only() -> None:
    check_settings(["augment.mixup=0.2"])  # wrong with the default strategy, right with others
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        check_settings(["epocs=5", "augment.mixup=0.2"])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["strategy=full", "split.folds=5"], "split.folds needs strategy 'features'"),
        (["strategy=last_layers", "split.folds=5", "frozen=pixels"], "split.folds needs strategy 'features'"),
        (["strategy=last_layers", "split.folds=5", "augment.mixup=1"], "split.folds needs strategy 'features'"),
        (["strategy=last_layers", "thaw.stages=2", 'thaw.names=["layer4"]'], "stages and names both say"),
        (["strategy=last_layers", "thaw.epochs=[[1, 1]]"], "thaw.epochs: strategy 'last_layers' does not look at it"),
        (["strategy=full", "thaw.stages=2"], "thaw.stages: strategy 'full' does not look at it"),
        (["strategy=scratch", 'thaw.names=["layer4"]'], "thaw.names: strategy 'scratch' does not look at it"),
        (["thaw.stages=2"], "thaw.stages: strategy 'features' does not look at it"),
        (["strategy=progressive", "thaw.stages=2"], "thaw.stages: strategy 'progressive' does not look at it"),
        (["strategy=progressive", "epochs=4"], "goes on to epoch 5, but the training ends after epochs = 4"),
        (["strategy=progressive", "thaw.epochs=[[2, 0]]"], "what learns from epoch 1 on"),
        (["strategy=progressive", "thaw.epochs=[[1, 2], [3, 1]]"], "more stages from pair to pair"),
        (["strategy=progressive", "thaw.epochs=[[1, 0], [1, 1]]"], "later epochs"),
        (["strategy=progressive", 'thaw.epochs=[[1, "al"]]'], "'al'"),
        (["strategy=last_layers", "thaw.stages=-1"], "greater than or equal to 0"),
        (["strategy=last_layers", 'thaw.names=[""]'], "at least 1 character"),
        (["strategy=full", "frozen=stored"], "nothing to store"),
        (["strategy=progressive", "frozen=stored"], "nothing to store"),
        (["strategy=last_layers", "frozen=stored", "augment.cutmix=1"], "cannot be mixed"),
        (["frozen=pixels"], "trains on stored outputs"),
        (["strategy=last_layers", "frozen=pixels", "runtime=onnx"], "no frozen part"),
        (["optimizer.layer_decay=0.9"], "trains the head alone"),
        (["augment.mixup=0.2"], "cannot be mixed"),
        (["optimizer.bias_rate=2"], "trains the head alone"),
        (["optimizer.name=muon"], "leaves the head to sgd"),
        (["strategy=full", "start.whiten=bias"], "does not begin with random weights"),
        (["strategy=full", "start.identity=true"], "does not begin with random weights"),
        (["strategy=last_layers", "grow.start=0.5"], "stored outputs, which have one size"),
        (["split.folds=5", "augment.flip=0.5", "test_views=mirror"], "which are of one view"),
        (["test_views=mirror"], "set test_views = 'one'"),
        (["resize=100"], "resize must be 0 or at least image_size"),
        (["split.val=0.6", "split.test=0.5"], "must leave images for training"),
        (["strategy=scratch", "weights=hub"], "starts from random weights"),
        (["stem=small_random", "strategy=scratch", "weights=none"], "set 'small'"),
        (["stem=small_random", "strategy=full", "weights=none"], "set 'small'"),
        (["task=multi_label", "sampler.name=balanced"], "with several labels an image has none: set 'shuffle'"),
        (["task=multi_label", "best.monitor=accuracy"], "best.monitor = 'mean_average_precision' or 'log_loss'"),
        (["task=multi_label", "stop.monitor=accuracy", "stop.patience=3"], "has no score 'accuracy'"),
        (["task=multi_class", "best.monitor=mean_average_precision"], "set best.monitor = 'accuracy'"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(settings: list[str], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        override(Recipe(), settings)


@pytest.mark.parametrize(
    "settings",
    [
        ["strategy=last_layers", "split.folds=5"],
        ["strategy=last_layers", "runtime=onnx", "frozen=stored"],
        ["strategy=last_layers", "augment.mixup=1"],
        ["strategy=staged", "thaw.stages=2", "frozen=stored"],
        ["strategy=progressive", "thaw.epochs=[[1, 0], [3, 2]]", "frozen=stored"],
        ["strategy=progressive", 'thaw.epochs=[[1, 0], [3, "all"]]', "optimizer.layer_decay=0.9"],
    ],
)
def test_what_fits_together_is_taken_and_survives_being_written_and_read(settings: list[str], tmp_path: Path) -> None:
    recipe = override(Recipe(), settings)
    write(recipe, tmp_path / "recipe.toml")
    assert read(tmp_path / "recipe.toml") == recipe


def test_a_group_given_as_a_number_is_a_mistake_not_a_crash() -> None:
    with pytest.raises(RecipeError, match="augment"):
        override(Recipe(), ["augment=5"])
    with pytest.raises(RecipeError):
        override(Recipe(), ["epochs.deep=5"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["loss.gamma=1"], "gamma belongs to name = 'focal', got 1 with 'cross_entropy'"),
        (["loss.smooth_over=others"], "smooth_over = 'others' spreads label_smoothing, which must be above 0"),
        (["loss.smooth_over=others", "loss.label_smoothing=0.5"], "below 0.5"),
        (["sampler.power=0.5"], "power belongs to name = 'oversample', got 0.5 with 'shuffle'"),
        (["sampler.name=balanced", "sampler.power=0.5"], "power belongs to name = 'oversample'"),
        (["sampler.name=oversample", "sampler.power=1"], "sampler.power: expected"),
        (["sampler.name=oversample", "loss.class_weights=inverse"], "together twice as intended: set class_weights = 'none'"),
        (["sampler.name=balanced", "loss.class_weights=effective"], "together twice as intended: set class_weights = 'none'"),
        (["loss.name=focus"], "loss.name: expected 'cross_entropy'"),
        (["optimizer.rest_rate=2"], "rest_rate belong to name = 'muon', got 'adamw'"),
        (["optimizer.fixed_norm=true", "optimizer.name=sgd"], "fixed_norm belong to name = 'muon', got 'sgd'"),
        (["optimizer.nesterov=true", "optimizer.name=muon"], "muon always looks ahead"),
        (["average.every=2"], "every belongs to name = 'lookahead', got 2 with 'none'"),
        (["start.whiten_until=0.5"], "whiten_until belongs to whiten = 'bias', got 0.5 with 'none'"),
        (["augment.alternate_flip=true", "augment.flip=0.3"], "set flip = 0.5, got 0.3"),
    ],
)
def test_words_about_losses_and_samplers_that_would_do_nothing_or_twice_the_work_are_refused(
    settings: list[str], told: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        override(Recipe(), settings)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "setting", "gone"),
    [
        ("small_images", "grow.start=1", "grow.until"),
        ("small_images", "start.whiten=none", "start.whiten_until"),
        ("small_images", "augment.flip=0", "test_views"),
        ("photos_finetune", "strategy=full", "schedule.thawed_rate"),
    ],
)
def test_what_a_setting_switches_off_takes_the_presets_words_about_it_along(preset: str, setting: str, gone: str) -> None:
    before = dict(flattened(presets.named(preset).model_dump(mode="json")))
    after = dict(flattened(override(presets.named(preset), [setting]).model_dump(mode="json")))
    assert after[gone] == dict(flattened(Recipe().model_dump(mode="json")))[gone] != before[gone]


def test_a_word_that_the_user_sets_is_not_taken_along_but_told() -> None:
    with pytest.raises(RecipeError, match="leave out"):
        override(presets.small_images(), ["grow.start=1", "grow.until=0.7"])
