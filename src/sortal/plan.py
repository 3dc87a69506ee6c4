"""The plan: from facts about the images and the machine to a recipe, with the reason for every choice.

Two of the tutorials that this project comes from give tables by data-set size, and their bands disagree. One goes by approach:
transfer below 1,000 images, fine-tuning of the last layers to 10,000, transfer or from scratch to 100,000. The other calls all
below 10,000 small and gives batch size, rate, epochs, decay and dropout. We take the second one's bands for its numbers
(`BANDS`) and one boundary for the approach (`FEW`), because below it a head on stored features is trained in seconds and can be
cross-validated.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sortal.errors import RecipeError
from sortal.events import Decision
from sortal.manifest import Manifest
from sortal.recipe import STRATEGIES, Optimizer, Recipe, Start, augmentations, parse, presets, without_the_idle

FEW = 2_000
"""Training images below which the network stays frozen and the score is cross-validated."""
SMALL_SIDE = 64
"""Pixels of the median image's longer side up to which images are small enough to train on from scratch."""
MANY_SMALL = 20_000
"""Training images from which on a twentieth of them is enough to calibrate on, and a network from scratch may be wide."""
MANY_FOR_LARGE_BATCHES = 40_000
"""Training images from which on batches of 2,000 make three hundred steps in sixteen epochs; tried with 45,000."""
CROSS_VALIDATION_FOLDS = 5
IMBALANCED = 10.0
"""Largest to smallest class from which rare classes come more often: Buda et al. (2018) see them suffer from there on, and at
four to one it changed nothing here (macro F1 of two triples of CIFAR-10's classes: 0.780 without, 0.778 with)."""
LEARNING = (
    "strategy",
    "batch_size",
    "micro_batch",
    "learning_rate",
    "optimizer",
    "schedule",
    "loss",
    "sampler",
    "average",
    "head",
)
"""Keys and groups with which a user takes in hand how a head learns."""
SOLVED_EPOCHS = 3
"""Of 40 iterations each; one is enough for some hundred photographs, and a solved head's further ones take milliseconds."""
WHITENED = ("brisk", "brisk_r", "brisk_s", "brisk_l")
"""Networks whose first layer has room for filters that whiten, and which the presets for small images train by Muon."""
WHOLE_RATE = 1e-4
"""Of a pretrained network that learns without its head having learnt first (guide 003)."""
SCRATCH_SIDE = 128
"""Pixels of photographs on which a network begins from random weights, unless the user says otherwise: at 224 it takes thrice
the time."""
OF_OPTIMIZERS: Mapping[str, tuple[float, float]] = {"sgd": (10.0, 5e-4), "adam": (1.0, 0.0), "rmsprop": (1.0, 0.0)}
"""Where the user takes another optimiser than the planned AdamW: its rate as a multiple of AdamW's, and its decay, which for
these is coupled with the gradients."""
BALANCE = ("loss.class_weights", "sampler.name")
"""Keys with which a user takes the balance of classes in hand."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan may know about where it runs."""

    cores: int
    accelerator: str
    """'cuda', or '' for none."""
    name: str
    """Of the accelerator, or of the processor."""
    instructions: str = ""
    """Tells processors of one name apart, as virtual ones often are, whose arithmetic units differ."""


@dataclass(frozen=True, slots=True)
class Band:
    """The tutorials' numbers for data sets below `images` training images."""

    images: float
    batch_size: int
    weight_decay: float
    dropout: float
    learning_rate: str
    """Of a network that is trained whole, by Adam. Told, not taken: ours differs by layer and over the training."""
    epochs: str
    """Told, not taken: theirs run at one rate from start to end."""


BANDS = (
    Band(10_000, 32, 1e-3, 0.5, "1e-4", "50 to 100"),
    Band(100_000, 64, 1e-4, 0.3, "1e-3", "50"),
    Band(float("inf"), 128, 1e-4, 0.2, "1e-3 to 1e-2", "30 to 50"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the plan looks at."""

    training_images: int
    independent: int
    """Of those, how many could be held out: copies and groups count once, the only image of a class not at all."""
    classes: tuple[str, ...]
    smallest_class: int
    """Training images of the smallest class that has any."""
    largest_class: int
    side: float
    """Pixels: the median over images of the longer side."""
    grey: bool
    given_splits: tuple[str, ...]
    task: Literal["multi_class", "multi_label"] = "multi_class"


def facts(manifest: Manifest, *, independent: int) -> Facts:
    """The facts of a manifest; every image that the user did not put into another split counts as a training image.

    `independent` is `Facts.independent`, which takes more than a look at the columns to know.
    """
    used = manifest.used
    training = [split in (None, "train") for split in used.column("split")]
    sides = [max(width, height) for width, height in zip(used.column("width"), used.column("height"), strict=True)]
    trained = (names for names, trains in zip(used.column("labels"), training, strict=True) if trains)
    counts = Counter(name for names in trained for name in names).values()
    return Facts(
        training_images=sum(training),
        independent=independent,
        classes=manifest.classes,
        smallest_class=min(counts, default=1),
        largest_class=max(counts, default=1),
        side=median(sides),
        grey=all(used.column("grey")),
        given_splits=manifest.given_splits,
        task=manifest.task,
    )


def for_images(recipe: Recipe, manifest: Manifest) -> tuple[Recipe, list[Decision]]:
    """The recipe with its task settled by the images, and why where they have several labels.

    Raises `RecipeError` where the recipe says that each has one label and some have several or none, or where what else it
    says does not go with the task. One label an image may well be trained as several: then none may be given, too.
    """
    found = manifest.task
    if recipe.task == "multi_class" and found == "multi_label":
        raise RecipeError(
            [f"task: expected one label an image for 'multi_class', but {manifest.used.told_labels()}"],
            hint="set task='multi_label', or leave it out; or give each image one label",
        )
    if recipe.task != "auto":
        return recipe, []
    recipe = parse(
        recipe.model_dump(mode="json") | {"task": found}, place=f"the recipe with task = {found!r}, as the images are"
    )
    return recipe, [] if found == "multi_class" else [Decision("task", found, manifest.used.told_labels())]


def plan(found: Facts, machine: Machine, *, settled: Mapping[str, object] | None = None) -> tuple[Recipe, list[Decision]]:
    """The recipe for these images on this machine, and why.

    `settled` is what the user sets, by its full key. The plan begins from a recipe that goes with it: what the user takes in
    hand is left alone, and no other word is planned that would contradict it.
    """
    settled = settled or {}
    strategy = _strategy(found, settled)
    if strategy == "scratch":
        values, why = _from_scratch(found, machine, settled)
    elif strategy == "features":
        values, why = _frozen(found)
    else:
        values, why = _fine_tuned(found, machine, strategy)
    values = _optimised(values, settled)
    values, flip_why = _mirrored(values, found)
    if found.task == "multi_label":
        values, balance_why = _several_labels(values, found)
    else:
        values, balance_why = _balanced(values, found, settled)
    values, solved_why = _solved(values, found, settled)
    recipe = parse(without_the_idle(values, settled), place="the planned recipe")
    return recipe, [*why, *flip_why, *balance_why, *solved_why, *_splits(recipe, found)]


def _strategy(found: Facts, settled: Mapping[str, object]) -> str:
    """What the user says, or what suits so many images of that size."""
    asked = settled.get("strategy")
    if asked in STRATEGIES:
        return str(asked)
    if settled.get("split.folds"):
        return "features"
    if settled.get("weights") == "none":
        return "scratch"
    if found.training_images < FEW:
        return "features"
    return "scratch" if found.side <= SMALL_SIDE else "staged"


def _optimised(values: dict[str, Any], settled: Mapping[str, object]) -> dict[str, Any]:
    """With the rate and decay that go with the user's optimiser."""
    name = settled.get("optimizer.name")
    if values["optimizer"]["name"] != "adamw" or name not in OF_OPTIMIZERS:
        return values
    times, decay = OF_OPTIMIZERS[str(name)]
    values["learning_rate"] *= times
    values["optimizer"] |= {"name": name, "weight_decay": decay}
    return values


def _frozen(found: Facts) -> tuple[dict[str, Any], list[Decision]]:
    recipe = presets.photos()
    values = recipe.model_dump(mode="json")
    values["split"] = {"folds": max(2, min(CROSS_VALIDATION_FOLDS, found.independent))}
    few = f"{found.training_images:,} training images are few (below {FEW:,}): the pretrained network stays frozen"
    return values, [
        Decision("strategy", "features", few if found.training_images < FEW else "cross-validation needs a head that is quick"),
        Decision(
            "augment.views",
            str(recipe.augment.views),
            "several augmented views of each image are computed once and kept",
        ),
        Decision("head.kind", recipe.head.kind, "the more weights are trained, the more few images are learnt by heart"),
        Decision(
            "best.monitor", "last", "a head has one best answer, and an epoch chosen on few held-out images would be luck"
        ),
    ]


def _from_scratch(found: Facts, machine: Machine, settled: Mapping[str, object]) -> tuple[dict[str, Any], list[Decision]]:
    small = found.side <= SMALL_SIDE
    asked, by = settled.get("model", WHITENED[0]), settled.get("optimizer.name", "muon")
    if not small or asked not in WHITENED or by != "muon":
        return _plainly_from_scratch(found, settled, by_muon=settled.get("optimizer.name") == "muon")
    few = found.training_images < MANY_SMALL
    recipe = presets.small_few() if few else _many_small(found, machine)
    size = _side(settled, max(16, min(SMALL_SIDE, round(found.side))))
    values = recipe.model_dump(mode="json") | {
        "grow": _growing(size) if recipe.grow.start < 1 else recipe.grow.model_dump(mode="json"),
        "image_size": size,
        "resize": size,
        "channels": 1 if found.grey else 3,
        "split": _shares(found),
    }
    if few:
        why = f"narrow, and in small batches, since {found.training_images:,} images make few steps an epoch"
    elif machine.accelerator:
        why = (
            f"an accelerator is at hand: {recipe.epochs} epochs in batches of {recipe.batch_size:,}; recipe small_best has more"
        )
    else:
        why = f"for {machine.cores} cores without an accelerator; recipe small_quick has fewer epochs, small_best more"
    return values, [
        Decision("model", values["model"], why),
        Decision(
            "strategy",
            "scratch",
            f"{found.training_images:,} images of about {found.side:.0f} pixels: a compact network of their own size learns "
            "faster than a large one that wants 224",
        ),
        Decision("image_size", str(size), "the median of the images' longer sides"),
        Decision("channels", str(values["channels"]), "all images are grey" if found.grey else "some images are in colour"),
        Decision("start.whiten", recipe.start.whiten, "filters that whiten patches need not be learnt: half the epochs do"),
        Decision("start.identity", "true", "convolutions that begin by handing on what they get learn from the first step on"),
        Decision("optimizer.name", recipe.optimizer.name, "a fifth fewer epochs than SGD to the same accuracy, says airbench"),
        *(
            [Decision("grow.start", f"{values['grow']['start']:g}", "the first epochs cost less on smaller images")]
            if values["grow"]["start"] < 1
            else []
        ),
    ]


def _many_small(found: Facts, machine: Machine) -> Recipe:
    """For tens of thousands of small images: longer where there is an accelerator, and in its batches where they make steps
    enough."""
    if not machine.accelerator:
        return presets.small_images()
    return presets.small_accelerated() if found.training_images >= MANY_FOR_LARGE_BATCHES else presets.small_best()


def _plainly_from_scratch(
    found: Facts, settled: Mapping[str, object], *, by_muon: bool
) -> tuple[dict[str, Any], list[Decision]]:
    """A training that any network and optimiser takes: no whitened start, no growing images."""
    recipe = presets.small_compact()
    if by_muon:
        kept = {key: getattr(presets.small_images(), key) for key in ("optimizer", "learning_rate", "batch_size", "schedule")}
        recipe = recipe.model_copy(update=kept | {"start": Start()})
    small = found.side <= SMALL_SIDE
    size = _side(settled, max(16, min(SMALL_SIDE if small else SCRATCH_SIDE, round(found.side))))
    values = recipe.model_dump(mode="json") | {
        "image_size": size,
        "resize": size if small else 0,
        "channels": 1 if found.grey else 3,
        "split": _shares(found),
    }
    values, augmented = _augmented(values, found)
    return values, [
        Decision("model", values["model"], "readable, and trained by any optimiser"),
        Decision(
            "strategy",
            "scratch",
            f"{found.training_images:,} images of about {found.side:.0f} pixels, as no weights are wanted",
        ),
        Decision(
            "image_size",
            str(size),
            "the median of the images' longer sides" if small else "smaller is much quicker from scratch",
        ),
        Decision("channels", str(values["channels"]), "all images are grey" if found.grey else "some images are in colour"),
        *augmented,
    ]


def _side(settled: Mapping[str, object], planned: int) -> int:
    """Pixels on each side of what the network sees: the user's, or the planned ones."""
    asked = settled.get("image_size")
    return asked if isinstance(asked, int) else planned


def _augmented(values: dict[str, Any], found: Facts) -> tuple[dict[str, Any], list[Decision]]:
    """How strongly images are varied that go through the network anew in each epoch: more, the fewer there are.

    Heads on stored outputs keep crops and mirrors: more views and stronger ones won nothing there (see `presets.photos`).
    """
    name = augmentations.by_size(found.training_images)
    planned = augmentations.named(name, side=values["image_size"]).model_dump(mode="json")
    if values["channels"] == 1:
        planned |= {"saturation": 0.0, "hue": 0.0}
    more = [key for key in ("brightness", "contrast", "rotate", "erase") if planned[key]]
    if values["augment"]["crop"] == planned["crop"]:
        planned |= {key: values["augment"][key] for key in ("padding", "padding_mode", "scale", "flip")}
    reason = f"the tutorials' {name!r} augmentation for {found.training_images:,} images"
    return values | {"augment": planned}, [Decision(f"augment.{key}", f"{planned[key]:g}", reason) for key in more]


def _growing(size: int) -> dict[str, Any]:
    """As the preset, but for images of up to 24 pixels, which have nothing to spare."""
    return presets.small_images().grow.model_dump(mode="json") if size > 24 else {"start": 1.0}


def _fine_tuned(found: Facts, machine: Machine, strategy: str) -> tuple[dict[str, Any], list[Decision]]:
    band = next(band for band in BANDS if found.training_images < band.images)
    values = presets.photos_finetune().model_dump(mode="json")
    values["batch_size"] = band.batch_size
    values["optimizer"]["weight_decay"] = band.weight_decay
    values["head"]["dropout"] = band.dropout
    values["split"] = _shares(found)
    values, augmented = _augmented(values, found)
    if strategy != "staged":
        return _at_once(values, strategy, [*_of_band(band, found), *augmented])
    if not machine.accelerator:
        values["epochs"] = max(3, values["epochs"] // 2)
    where = machine.accelerator or f"{machine.cores} cores and no accelerator"
    return values, [
        Decision(
            "strategy",
            "staged",
            f"{found.training_images:,} training images are enough to adapt the pretrained network: its head first, then all "
            "of it, earlier layers slower",
        ),
        *_of_band(band, found),
        Decision(
            "learning_rate",
            f"{values['learning_rate']:g}",
            f"for the head; what is thawed learns at {values['schedule']['thawed_rate']:g} of it, and earlier layers slower "
            f"still, where the tutorials' band has {band.learning_rate} for all",
        ),
        Decision(
            "epochs",
            str(values["epochs"]),
            f"for {where}: with the head first and a falling rate fewer do than the band's {band.epochs}",
        ),
        *augmented,
    ]


def _of_band(band: Band, found: Facts) -> list[Decision]:
    return [
        Decision("batch_size", str(band.batch_size), f"the tutorials' band for {found.training_images:,} images"),
        Decision("optimizer.weight_decay", f"{band.weight_decay:g}", "the same band"),
        Decision("head.dropout", f"{band.dropout:g}", "the same band"),
    ]


def _at_once(values: dict[str, Any], strategy: str, why: list[Decision]) -> tuple[dict[str, Any], list[Decision]]:
    """One rate from the start for all that learns, as the user's strategy wants it: guide 003's, which is as low as what is
    pretrained can bear.
    """
    plain = Recipe()
    values["strategy"] = strategy
    values["schedule"] |= {"head_only": plain.schedule.head_only, "thawed_rate": plain.schedule.thawed_rate}
    values["learning_rate"] = WHOLE_RATE
    return values, [
        *why,
        Decision("learning_rate", f"{WHOLE_RATE:g}", "guide 003's, for pretrained layers that learn from the first step on"),
        Decision("epochs", str(values["epochs"]), "no head is trained first, so there are no fewer"),
    ]


def _shares(found: Facts) -> dict[str, float]:
    """What is held back of the training images where nothing is given: for calibration always, for a test only without both."""
    shares = {}
    if "val" not in found.given_splits:
        shares["val"] = 0.1 if found.training_images < MANY_SMALL else 0.05
        if "test" not in found.given_splits:
            shares["test"] = 0.15
    return shares


def _mirrored(values: dict[str, Any], found: Facts) -> tuple[dict[str, Any], list[Decision]]:
    """Whether a mirrored image keeps its class: it does for things, it does not for digits, letters and sides."""
    sided = [
        name for name in found.classes if re.fullmatch(r"[0-9]+|[A-Za-z]|.*\b(left|right)\b.*", name.replace("_", " "), re.I)
    ]
    if sided:
        values["augment"] |= {"flip": 0.0, "alternate_flip": False}
        values["test_views"] = "one"
        reason = f"classes such as {sided[0]!r} may change when mirrored; set augment.flip=0.5 if they do not"
    else:
        also = " and test_views=one" if values["test_views"] != "one" else ""
        reason = f"assumed that a mirrored image keeps its class; set augment.flip=0{also} if it does not"
    why = [Decision("augment.flip", f"{values['augment']['flip']:g}", reason)]
    views = values["test_views"]
    if views != "one":
        told = {
            "mirror": "the image and its mirror image",
            "mirror_and_shift": "six views: mirrored or not, moved by a pixel or not",
        }
        why.append(Decision("test_views", views, f"the trained network answers by the mean over {told[views]}"))
    return values, why


def _balanced(values: dict[str, Any], found: Facts, settled: Mapping[str, object]) -> tuple[dict[str, Any], list[Decision]]:
    """Whether images of rare classes come more often.

    Frozen: three triples of CIFAR-10's classes with 300, 100 and 25 training images, each judged by 300 other training images a
    class, counted as often as the class is in training, gave macro F1 and accuracy of 0.752 and 0.873 as they come, 0.771 and
    0.858 with effective weights, 0.774 and 0.859 with all classes equally often, 0.786 and 0.875 with the square root; macro F1
    by cross-validation, which is noisier, was 0.739, 0.764, 0.762 and 0.775, though not best with the square root for each.

    From scratch: three epochs on Fashion-MNIST with class i cut to 5,000 / (i + 1) images, judged by other training images,
    gave macro F1 of 0.871 as they come, 0.870 with focal loss, 0.879 with effective weights, 0.885 with inverse ones, 0.894
    with the square root, 0.896 with all equally often and 0.902 with balanced batches; ten epochs on a quarter of that, in
    which the rarest come 29 times each, 0.865 as they come, 0.879 with the square root and 0.887 with balanced batches.

    Each of these was trained once, with one seed and without a log; what the choice brings from scratch is measured by
    `imbalance` in docs/benchmarks.md. Staged training, not measured, gets the milder way.
    """
    ratio = found.largest_class / found.smallest_class
    if ratio < IMBALANCED or set(BALANCE) & set(settled):
        return values, []
    rare = (
        f"the largest class has {ratio:.0f} times the images of the smallest: shown as they come, the rare ones would be given "
        "up; set sampler.name='shuffle' if only accuracy counts"
    )
    if values["strategy"] == "scratch":
        values["sampler"] = {"name": "balanced"}
        return values, [Decision("sampler.name", "balanced", rare)]
    values["sampler"] = {"name": "oversample", "power": 0.5}
    between = "half-way between as they come and all classes equally often, which costs accuracy; set sampler.power=0 for that"
    return values, [Decision("sampler.name", "oversample", rare), Decision("sampler.power", "0.5", between)]


def _solved(values: dict[str, Any], found: Facts, settled: Mapping[str, object]) -> tuple[dict[str, Any], list[Decision]]:
    """Whether the head is solved for, as a logistic regression with C = 1 is, where nobody wants it trained in another way.

    The order of images and how often each comes mean nothing to a solver, so where rare classes come more often it is not used.
    """
    taken_in_hand = any(key == word or key.startswith(f"{word}.") for key in settled for word in LEARNING)
    if values["strategy"] != "features" or values["sampler"]["name"] != "shuffle" or taken_in_hand:
        return values, []
    decay = 1 / max(1, found.training_images)
    optimizer = Optimizer(name="lbfgs", weight_decay=decay).model_dump(mode="json")
    values = values | {"optimizer": optimizer, "epochs": SOLVED_EPOCHS}
    return values, [
        Decision("optimizer.name", "lbfgs", "a linear head has one best answer, which is solved for: no rate, batch or order"),
        Decision("optimizer.weight_decay", f"{decay:.2g}", "one over the training images: a logistic regression's C = 1"),
    ]


def _several_labels(values: dict[str, Any], found: Facts) -> tuple[dict[str, Any], list[Decision]]:
    """What goes with several labels an image: another score for the best epoch, and thresholds for rare labels."""
    why = []
    if values["best"]["monitor"] == "accuracy":
        values["best"]["monitor"] = "mean_average_precision"
        why.append(
            Decision("best.monitor", "mean_average_precision", "it does not depend on thresholds, which are fitted later")
        )
    ratio = found.largest_class / found.smallest_class
    if ratio >= IMBALANCED:
        reason = (
            f"the commonest label has {ratio:.0f} times the images of the rarest: each label gets a threshold of its own, "
            "which leaves the probabilities true; loss.class_weights='effective' would not"
        )
        why.append(Decision("loss.class_weights", "none", reason))
    return values, why


def _splits(recipe: Recipe, found: Facts) -> list[Decision]:
    why = [Decision("split", f"{name} as given", "your splits are respected") for name in found.given_splits if name != "train"]
    if recipe.split.folds:
        why.append(
            Decision(
                "split.folds",
                str(recipe.split.folds),
                "every training image is judged by a model that never saw it: a narrower interval than a small test split has",
            )
        )
    for name, share in (("val", recipe.split.val), ("test", recipe.split.test)):
        if share and name not in found.given_splits:
            use = "for calibration and curves" if name == "val" else "held back, shown once at the end"
            why.append(Decision(f"split.{name}", f"{share:g}", use))
    return why
