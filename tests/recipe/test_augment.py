"""What a recipe may say about augmentation, and what it is told when it says something else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sortal.errors import RecipeError
from sortal.recipe import Augment, Recipe, override, read, write
from sortal.recipe.augment import ORDER

NOISE = "augment.noise=[0.1, 0.2]"
BLUR = "augment.blur=[0.5, 1]"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (['augment.order=["crop", "flip", "xyz"]'], "augment.order: there is no operation 'xyz', there are crop,"),
        (['augment.order=["crop", "flipp"]'], "augment.order: there is no operation 'flipp', did you mean 'flip'?"),
        (['augment.order=["flip", "crop", "flip"]'], "augment.order: 'flip' stands there twice"),
        (['augment.order=["mixup"]'], "augment.order: 'mixup' joins whole images and always comes last"),
        (['augment.order=["crop"]', "augment.flip=0.5"], "augment: order leaves out 'flip', which is on: give it a place"),
        (['augment.order=["flip"]', "augment.crop=padded"], "augment: order leaves out 'crop', which is on"),
        (["augment.chance.nois=0.5"], "augment.chance: there is no operation 'nois', did you mean 'noise'?"),
        (["augment.chance.flip=0.5"], "augment.chance: flip is a probability itself: set augment.flip"),
        (["augment.chance.noise=0.5"], "augment: chance names 'noise', which is off: set augment.noise"),
        (["augment.chance.noise=2", NOISE], "augment.chance.noise: expected less than or equal to 1, got 2"),
        (['augment.one_of=[["noise"]]', NOISE], "augment.one_of: a group needs at least two operations"),
        (['augment.one_of=[["noise", "blurr"]]'], "augment.one_of: there is no operation 'blurr', did you mean 'blur'?"),
        (['augment.one_of=[["noise", "blur"], ["blur", "hue"]]'], "augment.one_of: 'blur' stands in the groups twice"),
        (['augment.one_of=[["noise", "blur"]]', NOISE], "augment: one_of names 'blur', which is off: set augment.blur"),
        (
            ['augment.one_of=[["noise", "blur"]]', NOISE, BLUR, "augment.chance.blur=0.5"],
            "augment: one_of draws 'blur', which is also left to a probability of 0.5",
        ),
        (
            ['augment.one_of=[["noise", "flip"]]', NOISE, "augment.flip=0.5"],
            "augment: one_of draws 'flip', which is also left to a probability of 0.5",
        ),
        (["augment.one_of_chance=0.5"], "augment: one_of_chance is 0.5, but one_of has no groups"),
        (["augment.noise=[0.2, 0.1]"], "augment: noise must go from a smaller to a larger number, got [0.2, 0.1]"),
        (["augment.blur=[2, 1]"], "augment: blur must go from a smaller to a larger number, got [2, 1]"),
        (["augment.motion_blur=2"], "augment.motion_blur: a line has at least 3 pixels, and 0 is off; got 2"),
        (["augment.auto_augment=svhn"], "augment.auto_augment: expected 'none', 'cifar10' or 'imagenet', got 'svhn'"),
        (["augment.fill=wrap"], "augment.fill: expected 'constant', 'nearest' or 'reflect', got 'wrap'"),
        (["augment.flop=1"], "augment.flop: unknown key, did you mean 'flip'?"),
    ],
)
def test_a_mistake_is_told_with_its_place_its_value_and_its_cure(asked: list[str], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(Recipe(), asked)
    assert any(problem.startswith(told) for problem in caught.value.problems), caught.value.problems


def test_all_mistakes_of_the_order_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        override(Recipe(), ['augment.order=["flipp", "hue", "hue", "mixup"]', "augment.fill=wrap"])
    told = str(caught.value)
    assert all(part in told for part in ("'flipp'", "'hue' stands there twice", "'mixup'", "augment.fill"))


def test_every_operation_is_a_key_and_every_key_that_is_off_by_default_is_an_operation() -> None:
    assert set(ORDER) <= set(Augment.model_fields)
    assert Augment().on == ()
    assert Augment(flip=0.5, hue=0.1, order=("hue", "flip")).on == ("hue", "flip")


@settings(deadline=None, max_examples=40)
@given(
    order=st.permutations(ORDER),
    chances=st.dictionaries(st.sampled_from(["noise", "blur"]), st.floats(0, 1)),
    grouped=st.booleans(),
)
def test_order_chances_and_groups_survive_toml(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], chances: dict[str, float], grouped: bool
) -> None:
    groups = (("rotate", "shear"), ("hue", "contrast")) if grouped else ()
    strengths = {"noise": (0.1, 0.2), "blur": (1.0, 2.0), "rotate": 5.0, "shear": 5.0, "hue": 0.1, "contrast": 0.3}
    recipe = Recipe(augment=Augment(order=tuple(order), chance=chances, one_of=groups, **strengths))
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    write(recipe, path)
    assert read(path) == recipe


def test_recipes_written_before_there_was_an_order_mean_what_they_meant() -> None:
    old = {"crop": "padded", "flip": 0.5, "rand_augment": 2}
    assert Augment.model_validate(old).order == ORDER


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Augment().order = ()  # type: ignore[misc]
