import inspect

import pytest

from sortal import recipe as recipes
from sortal.errors import UnknownName
from sortal.recipe import Augment, presets, tutorials
from sortal.recipe.text import to_toml

NAMES = [entry.name for entry in presets.PRESETS]


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_a_valid_recipe_that_survives_being_written_and_read(name, tmp_path):
    recipe = presets.named(name)
    recipes.write(recipe, tmp_path / "recipe.toml")
    assert recipes.read(tmp_path / "recipe.toml") == recipe
    assert recipes.parse(recipe.model_dump(mode="json")) == recipe, "an update slipped past the validation"
    assert "[augment]" in to_toml(recipe)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_says_what_it_is_for_and_what_was_measured(name):
    document = " ".join(inspect.getdoc(presets.PRESETS[name].load()).split())
    assert "easured here" in document
    assert presets.PRESETS[name].about


def test_every_function_that_returns_a_recipe_is_in_the_table():
    public = {
        n
        for n, f in (vars(presets) | vars(tutorials)).items()
        if inspect.isfunction(f) and not n.startswith("_") and n != "named"
    }
    assert public == set(NAMES)


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(UnknownName) as caught:
        presets.named("seed004_resnet81")
    assert "seed004_resnet18" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("seed000_simple_cnn", ("simple_cnn", 100, 64, 0.1, "sgd", 5e-4)),
        ("seed000_lenet5", ("lenet5", 100, 64, 0.1, "sgd", 5e-4)),
        ("seed000_resnet_cifar", ("resnet_cifar", 100, 64, 0.1, "sgd", 5e-4)),
        ("seed001_keras_cnn", ("keras_cnn", 100, 32, 1e-3, "adam", 0.0)),
        ("seed002_cifar10", ("cifar10_cnn", 100, 128, 0.1, "sgd", 5e-4)),
        ("seed003_full", ("resnet50.tv_in1k", 50, 32, 1e-4, "adam", 1e-3)),
        ("seed004_resnet18", ("resnet18", 100, 128, 1e-3, "adamw", 0.05)),
        ("seed004_keras", ("resnet_333", 100, 128, 1e-3, "adamw", 0.05)),
    ],
)
def test_the_tutorials_presets_have_the_numbers_of_the_tutorials(name, said):
    recipe = presets.named(name)
    spec = recipe.optimizer
    found = (recipe.model, recipe.epochs, recipe.batch_size, recipe.learning_rate, spec.name, spec.weight_decay)
    assert found == said
    assert spec.decay_all or spec.weight_decay == 0, "plain scripts decay every weight"


def test_the_strong_augmentation_of_tutorial_000_is_its_list():
    spec = presets.named("seed000_strong").augment
    assert spec.on == ("crop", "flip", "auto_augment", "erase")
    assert (spec.crop, spec.scale, spec.flip, spec.auto_augment, spec.erase) == ("resized", (0.08, 1.0), 0.5, "cifar10", 0.25)


def test_the_advanced_augmentations_of_guide_003_come_in_its_order_with_its_two_groups():
    recipe = presets.named("seed003_albumentations")
    spec = recipe.augment
    assert spec.on == spec.order
    assert spec.order[0] == "quarter_turns"
    assert spec.one_of == (("noise", "blur", "motion_blur"), ("optical", "grid", "elastic"))
    assert spec.order[-6:] == spec.one_of[0] + spec.one_of[1]
    assert (spec.translate, spec.zoom, spec.rotate) == (0.0625, 0.1, 45)
    assert recipe.model_copy(update={"augment": Augment()}) == presets.named("seed003_full").model_copy(
        update={"augment": Augment()}
    )


def test_the_rate_of_article_004_rises_from_a_hundredth_and_ends_at_a_millionth():
    recipe = presets.named("seed004_resnet18")
    assert recipe.schedule.warmup * recipe.epochs == 5
    assert recipe.schedule.start * recipe.learning_rate == pytest.approx(1e-5)
    assert recipe.schedule.floor * recipe.learning_rate == pytest.approx(1e-6)


def test_the_rate_of_tutorial_001_halves_on_a_plateau_down_to_a_ten_millionth():
    recipe = presets.named("seed001_keras_cnn")
    schedule = recipe.schedule
    assert (schedule.name, schedule.monitor, schedule.factor, schedule.patience) == ("plateau", "log_loss", 0.5, 3)
    assert schedule.floor * recipe.learning_rate == pytest.approx(1e-7)


def test_the_four_strategies_of_guide_003_thaw_what_the_guide_says():
    assert presets.named("seed003_features").strategy == "features"
    last = presets.named("seed003_last_layers")
    assert (last.strategy, last.thaw.names) == ("last_layers", ("layer4",))
    full = presets.named("seed003_full")
    assert (full.strategy, full.learning_rate) == ("full", 1e-4)
    progressive = presets.named("seed003_progressive")
    assert (progressive.strategy, progressive.thaw.epochs) == ("progressive", ((1, 0), (3, 1), (5, "all")))


def test_the_hidden_layers_of_the_tutorials_heads_are_theirs():
    heads = {name: presets.named(name).head for name in ("seed000_transfer", "seed001_transfer")}
    assert {name: (head.kind, head.hidden, head.dropout) for name, head in heads.items()} == {
        "seed000_transfer": ("mlp", 512, 0.3),
        "seed001_transfer": ("mlp", 256, 0.5),
    }


def test_the_two_steps_of_tutorial_001_are_ten_epochs_each_and_a_hundredth_of_the_rate():
    recipe = presets.named("seed001_transfer")
    assert recipe.schedule.head_only * recipe.epochs == 10
    assert recipe.schedule.thawed_rate * recipe.learning_rate == pytest.approx(1e-5)
