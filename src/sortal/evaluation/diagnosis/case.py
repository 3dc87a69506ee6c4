"""A case: all that a diagnosis may look at, as plain numbers; and what a diagnosis says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from sortal import recipe as recipes
from sortal.predictions import Predictions
from sortal.recipe import Recipe

Severity = Literal["note", "warning", "severe"]
SOLVED = "lbfgs"
"""The optimiser that solves for a head: it has no rate, no batches and no order of images."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that went wrong.

    Attributes:
        kind: one of the contract's words.
        severity: 'note' (good to know), 'warning' (the result could be better), 'severe' (it is not what it seems).
        evidence: the numbers that say so, as a sentence.
        cure: what to do about it.
        change: the recipe keys that would cure it, with their values.
    """

    kind: str
    severity: Severity
    evidence: str
    cure: str
    change: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "change": dict(self.change)}


@dataclass(frozen=True, slots=True)
class Fed:
    """How a network is fed, or how its pretrained weights were."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    """Pixels a side of what it sees; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Case:
    """A finished training. What is not known is left empty, and no rule that needs it says anything.

    Attributes:
        training: images of each class in the training split.
        history: one row an epoch: epoch (from 1), loss (mean over the training images as shown, with all that the recipe does
            to them), rate, and the validation split's log_loss and other scores.
        metrics, per_class: split to metrics object and to rows a class, as in the report.
        headline: the split that the result is told of.
        findings: rows of `sortal check`.
        predictions: of held-out images.
        fed, wanted: how the network is fed, and how its pretrained weights were; None without such weights.
        warnings: what was told while the training went on.
        seconds, work: what it cost, as in the contract.
        learning_curve: rows images, accuracy, accuracy_interval, of fewer to more training images.
    """

    recipe: Recipe
    training: Mapping[str, int]
    history: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    per_class: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    headline: str = ""
    findings: Sequence[Mapping[str, Any]] = ()
    predictions: Predictions | None = None
    fed: Fed | None = None
    wanted: Fed | None = None
    warnings: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    work: Mapping[str, Any] = field(default_factory=dict)
    learning_curve: Sequence[Mapping[str, Any]] = ()

    @property
    def images(self) -> int:
        """In the training split. Of several labels an image this counts labels, which is near enough."""
        return sum(self.training.values())

    @property
    def several(self) -> bool:
        return self.recipe.task == "multi_label"

    @property
    def guess(self) -> float:
        """The loss of a model that knows nothing and says so, in nats."""
        return math.log(2) if self.several else math.log(max(2, len(self.training)))

    @property
    def mixes(self) -> bool:
        return bool(self.recipe.augment.mixup or self.recipe.augment.cutmix)

    @property
    def comparable(self) -> bool:
        """Whether the training's loss means what the validation's does: neither mixed images nor another loss."""
        return self.recipe.loss.name == "cross_entropy" and not self.mixes

    @property
    def losses(self) -> list[float]:
        """The training's loss by epoch, less what label smoothing alone costs a model that is always right."""
        return [float(row["loss"]) - self._smoothing for row in self.history]

    @property
    def _smoothing(self) -> float:
        share, classes = self.recipe.loss.label_smoothing, max(2, len(self.training))
        if not share:
            return 0.0
        if self.several:
            answers = [1 - share / 2, share / 2]
        elif self.recipe.loss.smooth_over == "others":
            answers = [1 - share, *[share / (classes - 1)] * (classes - 1)]
        else:
            answers = [1 - share + share / classes, *[share / classes] * (classes - 1)]
        return -sum(answer * math.log(answer) for answer in answers if answer > 0)

    @property
    def held_out(self) -> list[float]:
        """The loss on validation images by epoch; empty without a validation split."""
        found = [row.get("log_loss") for row in self.history]
        return [] if None in found else [float(value) for value in found if value is not None]

    @property
    def rates(self) -> list[float]:
        return [float(row["rate"]) for row in self.history]

    @property
    def thawing(self) -> list[int]:
        """Epochs, from 1, in which a part that was frozen begins to learn."""
        recipe = self.recipe
        if recipe.strategy == "staged":
            return [epoch] if (epoch := int(recipe.schedule.head_only * recipe.epochs) + 1) > 1 else []
        return [epoch for epoch, _ in recipe.thaw.epochs[1:]] if recipe.strategy == "progressive" else []

    @property
    def pretrained(self) -> bool:
        return self.recipe.strategy != "scratch" and self.recipe.weights != "none"

    def found(self, kind: str) -> list[Mapping[str, Any]]:
        """The findings of a kind."""
        return [finding for finding in self.findings if finding["kind"] == kind]


def changed(recipe: Recipe, change: Mapping[str, Any]) -> Recipe:
    """The recipe with other values under keys such as 'augment.flip'; raises `RecipeError` where they do not go together."""
    values = recipe.model_dump(mode="json")
    for key, value in change.items():
        *groups, last = key.split(".")
        place = values
        for group in groups:
            place = place[group]
        place[last] = value
    return recipes.parse(values, place="the changed recipe")


def rises(values: Sequence[float]) -> list[float]:
    """By how much each value is above the one before; 0 where it is not."""
    return [max(0.0, later - earlier) for earlier, later in pairwise(values)]


def tail(count: int) -> int:
    """How many of so many epochs are the last part of a training: a fifth, at least two.

    >>> tail(40), tail(5), tail(3)
    (8, 2, 2)
    """
    return max(2, count // 5)


def augmenting(recipe: Recipe) -> dict[str, Any]:
    """Augmentation that keeps every class: crops, with enough views where views are stored. Mirrors may change a class."""
    small = recipe.image_size <= 64
    found: dict[str, Any] = {"augment.crop": "padded" if small else "resized"}
    if recipe.may_be_stored and recipe.augment.views < 4:
        found["augment.views"] = 4
    return found
