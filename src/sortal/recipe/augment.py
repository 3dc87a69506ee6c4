"""How training images are varied: operations with their strengths, the order of them, and groups of which one is drawn."""

from difflib import get_close_matches
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sortal.recipe.group import Group, NotNegative, Positive, Share

ORDER = (
    "crop", "flip", "vertical_flip", "quarter_turns", "shear", "rotate", "zoom", "translate", "optical", "grid", "elastic",
    "brightness", "contrast", "saturation", "hue", "grey", "auto_augment", "rand_augment", "trivial_augment",
    "blur", "motion_blur", "noise", "erase",
)  # fmt: skip
"""The operations by the keys that hold their strengths, in the order in which they are applied unless a recipe has its own."""
PROBABILITIES = ("flip", "vertical_flip", "quarter_turns", "grey", "erase")
"""Operations whose strength is itself a probability."""
MIXING = ("mixup", "cutmix")
"""What joins images with each other; it comes after all operations, whatever their order."""
RANGES = ("scale", "ratio", "blur", "noise", "erase_scale")


class Augment(Group):
    """How training images are varied, one draw a sample; never on validation or test.

    A word that only says how an operation works (`padding`, `scale`, `fill`, `rand_magnitude` and the like) may stay where that
    operation is off, so that a preset's operation can be switched off, or on again, by one word.
    """

    views: int = Field(default=4, ge=1, le=64)
    """Augmented views of each image whose features are stored. Where none are, each epoch draws a view of its own."""
    order: tuple[str, ...] = ORDER
    """Operations in the order of their application. Those that are off may be left out. Crops, mirrors, turns and whatever
    else moves an image without bending it are interpolated together where they stand side by side. Mixup and cutmix come
    last."""
    chance: dict[str, Share] = Field(default_factory=dict)
    """Probability, by operation, that an image gets it at all, such as {noise = 0.5}; 1 for those that are not named."""
    one_of: tuple[tuple[str, ...], ...] = ()
    """Groups of operations: of each group an image gets exactly one, drawn evenly, at the place that `order` gives it."""
    one_of_chance: Share = 1.0
    """Probability that an image gets one of a group at all, drawn for each group."""
    crop: Literal["none", "padded", "resized"] = "none"
    """'padded': shift by up to `padding` pixels; 'resized': a random part of the image, resized to the network's size."""
    padding: int = Field(default=4, ge=1, le=64)
    """Pixels on each side, for padded crops."""
    padding_mode: Literal["constant", "nearest", "reflect"] = "constant"
    """What fills the border of padded crops: black, the nearest pixel, or the mirrored image."""
    scale: tuple[Share, Share] = (0.35, 1.0)
    """Smallest and largest share of the image's area that a resized crop keeps."""
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of a resized crop."""
    flip: Share = 0.0
    """Probability of mirroring left and right. Not for digits, letters and whatever changes its class in a mirror."""
    alternate_flip: bool = False
    """Whether an image is mirrored is drawn once and then alternates from epoch to epoch, so that two epochs show both (Jordan
    2024); for flip = 0.5, while 0 mirrors nothing."""
    vertical_flip: Share = 0.0
    """Probability of turning upside down."""
    quarter_turns: Share = 0.0
    """Probability of a turn by 0, 90, 180 or 270 degrees, drawn evenly."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Rotation by up to so many degrees either way."""
    translate: Share = 0.0
    """Shift by up to this share of the image's side."""
    shear: float = Field(default=0.0, ge=0, le=80)
    """Shear by up to so many degrees either way."""
    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Scale by a factor from 1 - zoom to 1 + zoom."""
    optical: float = Field(default=0.0, ge=0, le=1)
    """Barrel or cushion distortion of a lens, by up to this coefficient either way (OpenCV's k1 = k2)."""
    grid: float = Field(default=0.0, ge=0, lt=1)
    """Rows and columns of a grid of `grid_steps` cells widen or narrow by up to this share."""
    grid_steps: int = Field(default=5, ge=2, le=64)
    """Cells a side, for `grid`."""
    elastic: NotNegative = 0.0
    """Strength (alpha) of elastic distortion: pixels move by random numbers from -alpha / 2 to alpha / 2, smoothed with a
    Gaussian of `elastic_sigma` pixels, which leaves little of them (Simard et al. 2003)."""
    elastic_sigma: float = Field(default=5.0, gt=0, le=200)
    """Smoothness of elastic distortion, in pixels."""
    fill: Literal["constant", "nearest", "reflect"] = "constant"
    """What fills the corners that rotation, shift, shear, zoom and distortions uncover: black, the nearest pixel, or the
    mirrored image. The policies below move images too; they leave black, as published."""
    brightness: NotNegative = 0.0
    """Brightness times a factor from max(0, 1 - brightness) to 1 + brightness."""
    contrast: NotNegative = 0.0
    """Contrast likewise."""
    saturation: NotNegative = 0.0
    """Saturation likewise."""
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Hue turned by up to this share of the colour circle."""
    grey: Share = 0.0
    """Probability of losing all colour."""
    auto_augment: Literal["none", "cifar10", "imagenet"] = "none"
    """A learnt policy of AutoAugment (Cubuk et al. 2019): each image draws one of its 25 pairs of operations."""
    rand_augment: int = Field(default=0, ge=0, le=8)
    """How many operations of RandAugment each image gets (Cubuk et al. 2020)."""
    rand_magnitude: int = Field(default=9, ge=0, le=30)
    """Their strength, of 30."""
    trivial_augment: bool = False
    """One operation of any strength an image: TrivialAugment, with its wide ranges (Müller and Hutter 2021)."""
    blur: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Smallest and largest standard deviation of a Gaussian blur, in pixels; [0, 0] is off."""
    motion_blur: int = Field(default=0, ge=0, le=99)
    """Longest way, in pixels, of a blur along a line in any direction; odd lengths from 3 to it are drawn, 0 is off."""
    noise: tuple[Share, Share] = (0.0, 0.0)
    """Smallest and largest standard deviation of Gaussian noise, as a share of full brightness; [0, 0] is off."""
    erase: Share = 0.0
    """Probability of blanking a random rectangle (Zhong et al. 2020)."""
    erase_scale: tuple[Share, Share] = (0.02, 0.33)
    """Smallest and largest share of the area that is blanked."""
    mixup: NotNegative = 0.0
    """Alpha of mixup's Beta distribution (Zhang et al. 2018); 0 is off."""
    cutmix: NotNegative = 0.0
    """Alpha of cutmix's (Yun et al. 2019); 0 is off. With both on, each step draws one of them."""

    @property
    def on(self) -> tuple[str, ...]:
        """The operations that do something, in their order."""
        return tuple(name for name in self.order if self._does_something(name))

    @field_validator("order")
    @classmethod
    def _each_known_and_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _refuse(_strangers(names) + [f"{name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1])
        return names

    @field_validator("chance")
    @classmethod
    def _chances_of_operations(cls, chances: dict[str, float]) -> dict[str, float]:
        own = [f"{name} is a probability itself: set augment.{name}" for name in chances if name in PROBABILITIES]
        _refuse(_strangers(tuple(chances)) + own)
        return chances

    @field_validator("one_of")
    @classmethod
    def _groups_of_operations(cls, groups: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        names = tuple(name for group in groups for name in group)
        alone = [f"a group needs at least two operations to draw from, got {list(group)}" for group in groups if len(group) < 2]
        twice = [f"{name!r} stands in the groups twice" for name in sorted(set(names)) if names.count(name) > 1]
        _refuse(_strangers(names) + alone + twice)
        return groups

    @field_validator("motion_blur")
    @classmethod
    def _a_way_of_at_least_three(cls, length: int) -> int:
        _refuse([f"a line has at least 3 pixels, and 0 is off; got {length}"] if length in (1, 2) else [])
        return length

    @model_validator(mode="after")
    def _fits_together(self) -> "Augment":
        _refuse([*self._ranges(), *self._left_out(), *self._idle(), *self._drawn_twice()])
        return self

    def _ranges(self) -> list[str]:
        """Pairs of numbers that do not go upwards."""
        problems = []
        for key in RANGES:
            low, high = getattr(self, key)
            if low > high or (key == "scale" and low == 0):
                least = " above 0" if key in ("scale", "ratio", "erase_scale") else ""
                problems.append(f"{key} must go from a smaller to a larger number{least}, got [{low:g}, {high:g}]")
        return problems

    def _left_out(self) -> list[str]:
        """Operations that are on but have no place in the order."""
        missing = [name for name in ORDER if name not in self.order and self._does_something(name)]
        return [f"order leaves out {name!r}, which is on: give it a place, or turn it off" for name in missing]

    def _idle(self) -> list[str]:
        """Chances and groups of operations that are off, and a chance of groups that are not there."""
        named = [("chance", name) for name in self.chance] + [("one_of", name) for group in self.one_of for name in group]
        off = [
            f"{key} names {name!r}, which is off: set augment.{name}" for key, name in named if not self._does_something(name)
        ]
        if self.alternate_flip and self.flip not in (0, 0.5):
            off.append(f"alternate_flip shows both sides equally often: set flip = 0.5, got {self.flip:g}")
        if self.one_of_chance < 1 and not self.one_of:
            off.append(f"one_of_chance is {self.one_of_chance:g}, but one_of has no groups")
        return off

    def _drawn_twice(self) -> list[str]:
        """Operations of a group, which is what draws them, with a probability of their own."""
        grouped = [name for group in self.one_of for name in group]
        shares = {name: self.chance.get(name, getattr(self, name) if name in PROBABILITIES else 1.0) for name in grouped}
        return [
            f"one_of draws {name!r}, which is also left to a probability of {share:g}: set that to 1, or one_of_chance"
            for name, share in shares.items()
            if share < 1 and self._does_something(name)
        ]

    def _does_something(self, name: str) -> bool:
        strength = getattr(self, name)
        return any(strength) if isinstance(strength, tuple) else strength not in (0, "none")


def _strangers(names: tuple[str, ...]) -> list[str]:
    """What is wrong with names that are no operations."""
    problems = []
    for name in names:
        if name in MIXING:
            problems.append(f"{name!r} joins whole images and always comes last")
        elif name not in ORDER:
            near = get_close_matches(name, ORDER, n=1, cutoff=0.5)
            cure = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ORDER)}"
            problems.append(f"there is no operation {name!r}, {cure}")
    return problems


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))
