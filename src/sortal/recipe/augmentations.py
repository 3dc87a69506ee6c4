"""Augmentation by the amount of data: none, basic, full, heavy, and which of them suits how many images.

The first three are those of tutorial 002's second exercise: nothing; crop and mirror; the colours of its training script as
well. Tutorial 000 wants heavy augmentation below 1,000 images and gives no list; ours joins what the tutorials call strong.
Photographs are cropped at random sizes; images of up to 64 pixels are moved, since they have no detail to spare.
"""

from sortal.recipe.augment import Augment
from sortal.registry import Registry

HERE = "sortal.recipe.augmentations"
AUGMENTATIONS = Registry("augmentation", hint="there are none, basic, full and heavy")
SMALL_SIDE = 64
"""Pixels of the network's side up to which a crop moves the image rather than enlarging a part of it."""
BANDS = ((1_000, "heavy"), (10_000, "full"))
"""Training images below which an image needs more variants than crops and mirrors give: the tutorials' two boundaries."""


def named(name: str, *, side: int) -> Augment:
    """The augmentation of that name for a network that sees `side` pixels; raises `UnknownName`."""
    found: Augment = AUGMENTATIONS[name].load()(side=side)
    return found


def by_size(training_images: int) -> str:
    """The name of the augmentation for so many training images."""
    return next((name for below, name in BANDS if training_images < below), "basic")


AUGMENTATIONS.add("none", f"{HERE}:none", "the images as they are")


def none(*, side: int) -> Augment:
    """The images as they are: what the others are compared with."""
    return Augment()


AUGMENTATIONS.add("basic", f"{HERE}:basic", "crop and mirror")


def basic(*, side: int) -> Augment:
    """Crop and mirror: for 10,000 images and more. A small image moves by up to an eighth, 4 pixels of 32."""
    if side <= SMALL_SIDE:
        return Augment(crop="padded", padding=max(1, side // 8), flip=0.5)
    return Augment(crop="resized", scale=(0.35, 1.0), flip=0.5)


AUGMENTATIONS.add("full", f"{HERE}:full", "crop, mirror and colours")


def full(*, side: int) -> Augment:
    """Crop, mirror, brightness and contrast, as in tutorial 002's training script: for 1,000 to 10,000 images."""
    return basic(side=side).model_copy(update={"brightness": 0.2, "contrast": 0.2})


AUGMENTATIONS.add("heavy", f"{HERE}:heavy", "crop, mirror, stronger colours, turns, erased rectangles")


def heavy(*, side: int) -> Augment:
    """Stronger colours, turns by up to 15 degrees (guide 003), erased rectangles (tutorial 000): for under 1,000 images."""
    more = {
        "rotate": 15.0,
        "fill": "reflect",
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.05,
        "erase": 0.25,
    }
    return basic(side=side).model_copy(update=more)
