"""Recipes as text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.errors import RecipeError
from sortal.recipe import Augment, Recipe, check_settings, override, read, write


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
    recipe = override(Recipe(), ["epochs=5", "model=resnet18", "augment.scale=[0.5, 1.0]", "optimizer.nesterov=true"])
    assert (recipe.epochs, recipe.model, recipe.augment.scale, recipe.optimizer.nesterov) == (5, "resnet18", (0.5, 1.0), True)


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
        (["augment.mixup=0.2"], "cannot be mixed"),
        (["resize=100"], "resize must be 0 or at least image_size"),
        (["split.val=0.6", "split.test=0.5"], "must leave images for training"),
        (["strategy=scratch", "weights=hub"], "starts from random weights"),
        (["task=multi_label", "best.monitor=accuracy"], "best.monitor = 'mean_average_precision' or 'log_loss'"),
        (["task=multi_label", "stop.monitor=accuracy", "stop.patience=3"], "has no score 'accuracy'"),
        (["task=multi_class", "best.monitor=mean_average_precision"], "set best.monitor = 'accuracy'"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(settings: list[str], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        override(Recipe(), settings)


def test_a_group_given_as_a_number_is_a_mistake_not_a_crash() -> None:
    with pytest.raises(RecipeError, match="augment"):
        override(Recipe(), ["augment=5"])
    with pytest.raises(RecipeError):
        override(Recipe(), ["epochs.deep=5"])
