"""Augmentation by the amount of data."""

import inspect

import pytest

from sortal.errors import UnknownName
from sortal.recipe import Augment, augmentations

NAMES = ["none", "basic", "full", "heavy"]
COLOURS = {"brightness", "contrast", "saturation", "hue"}


@pytest.mark.parametrize("side", [8, 32, 64, 224])
@pytest.mark.parametrize("name", NAMES)
def test_every_augmentation_is_valid_at_every_size(name: str, side: int) -> None:
    spec = augmentations.named(name, side=side)
    assert Augment.model_validate(spec.model_dump()) == spec, "an update slipped past the validation"
    assert spec.vertical_flip == spec.quarter_turns == 0, "photographs have an up and a down"


@pytest.mark.parametrize("side", [32, 224])
def test_each_adds_to_the_one_before_it(side: int) -> None:
    none, basic, full, heavy = (set(augmentations.named(name, side=side).on) for name in NAMES)
    assert none == set()
    assert basic == {"crop", "flip"}
    assert full == basic | {"brightness", "contrast"}
    assert heavy == basic | COLOURS | {"rotate", "erase"}


def test_basic_and_full_at_32_pixels_are_those_of_tutorial_002() -> None:
    assert augmentations.basic(side=32) == Augment(crop="padded", padding=4, flip=0.5)
    assert augmentations.full(side=32) == Augment(crop="padded", padding=4, flip=0.5, brightness=0.2, contrast=0.2)


@pytest.mark.parametrize(
    ("images", "name"), [(1, "heavy"), (999, "heavy"), (1_000, "full"), (10_000, "basic"), (10**7, "basic")]
)
def test_the_fewer_images_the_more_they_are_varied(images: int, name: str) -> None:
    assert augmentations.by_size(images) == name


def test_the_table_has_them_all_and_an_unknown_one_is_answered_with_the_nearest() -> None:
    assert [entry.name for entry in augmentations.AUGMENTATIONS] == NAMES
    assert all(inspect.getdoc(entry.load()) and entry.about for entry in augmentations.AUGMENTATIONS)
    with pytest.raises(UnknownName) as caught:
        augmentations.named("havy", side=32)
    assert "heavy" in caught.value.hint
