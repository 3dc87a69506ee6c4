"""What the images did to the result: rules about their number, their labels, and what `sortal check` found in them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.diagnosis.case import Case, Diagnosis
from sortal.evaluation.intervals import wilson
from sortal.recipe import flattened, presets

IMBALANCED = 10.0
"""Largest to smallest class from which rare ones suffer, as in the plan."""
LOST = 0.1
"""Of recall, by which a rare class is behind the commonest."""
NAMED = 3
"""Largest and smallest classes that are named with their images; in sets of no more than twice as many, all."""
FEW_OF_A_CLASS = 100
GAINED = 0.02
"""Of accuracy, by the last doubling of the training images, from which more of them are worth the work."""
WIDE = 0.05
"""Half of an interval that leaves much open."""
NOISE = 0.01
"""Share of labels that are likely wrong from which it is worth a word."""
AS_OFTEN = 0.5
"""Of all mistakes' share, that of mistakes where the model is sure, from which wrong labels are the likelier reason."""
OF_A_HEAD = {
    "strategy", "epochs", "batch_size", "learning_rate", "test_views", "precision", "layout", "frozen", "optimizer", "schedule",
    "average", "stop", "best", "thaw", "start", "grow",
}  # fmt: skip
OF_A_NETWORK = {"model", "weights", "weights_sha256", "stem", "image_size", "resize", "channels"}
BORDERS = ("border", "edge", "frame")
COLOURS = ("colour", "color", "brightness")


def imbalance_ignored(case: Case) -> Diagnosis | None:
    """Some classes are rare, nothing makes up for it, and they are recognised less often."""
    recipe, rows = case.recipe, case.per_class.get(case.headline, ())
    if recipe.sampler.name != "shuffle" or recipe.loss.class_weights != "none" or len(case.training) < 2:
        return None
    common = max(case.training, key=lambda name: case.training[name])
    most, least = case.training[common], min(case.training.values())
    scored = {row["class"]: row for row in rows if row["recall"] is not None}
    rarest = [name for name in scored if case.training.get(name, most) <= max(least, most / IMBALANCED)]
    if most < IMBALANCED * least or common not in scored or not rarest:
        return None
    recall = scored[common]["recall"]
    behind = recall - sum(scored[name]["recall"] for name in rarest) / len(rarest)
    if behind < LOST or not _beyond_luck(scored[common], [scored[name] for name in rarest]):
        return None
    smallest = min(rarest, key=lambda name: case.training[name])
    low, high = _recall_interval(scored[smallest])
    by_size = sorted(case.training, key=lambda name: -case.training[name])
    if len(by_size) > 2 * NAMED:
        left = len(by_size) - 2 * NAMED
        shown = [*by_size[:NAMED], *by_size[-NAMED:]]
    else:
        left, shown = 0, by_size
    named = ", ".join(f"{name!r} {case.training[name]:,}" for name in shown)
    evidence = (
        f"training images: {named}{f' and {left:,} classes between' if left else ''}; of {common!r} {recall:.0%} are "
        f"recognised, of {smallest!r} {scored[smallest]['recall']:.0%} (between {low:.0%} and {high:.0%})"
    )
    if len(rarest) > 1:
        evidence += f", of the rare classes {recall - behind:.0%}"
    if case.several:
        change: dict[str, Any] = {"loss.class_weights": "effective"}
        return Diagnosis("imbalance-ignored", "warning", evidence, "let rare labels count more", change)
    change = {"sampler.name": "oversample", "sampler.power": 0.5}
    return Diagnosis("imbalance-ignored", "warning", evidence, "show the images of rare classes more often", change)


def _beyond_luck(common: Mapping[str, Any], rare: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the intervals lie apart: rare classes are judged on so few images that nothing less strict would do."""
    return sum(_recall_interval(row)[1] for row in rare) / len(rare) < _recall_interval(common)[0]


def _recall_interval(row: Mapping[str, Any]) -> tuple[float, float]:
    """Of a class; Wilson's where a row of older reports has none."""
    low, high = row.get("recall_interval") or wilson(row["recall"] * row["support"], row["support"])
    return low, high


def too_little_data(case: Case) -> Diagnosis | None:
    """More images would help: the learning curve still rises, or few images leave the result wide open."""
    evidence, wanted = _still_rising(case) if len(case.learning_curve) >= 2 else (_wide_open(case), "")
    if not evidence:
        return None
    smallest = min(case.training, key=lambda name: case.training[name])
    most = f"{wanted!r}, which gained most" if wanted else f"{smallest!r}, which has {case.training[smallest]:,}"
    cure = f"more images, first of {most}"
    change = _made_the_most_of(case)
    if change:
        cure += "; until then a frozen pretrained network, judged by cross-validation, makes the most of these"
    return Diagnosis("too-little-data", "warning", evidence, cure, change)


def _still_rising(case: Case) -> tuple[str, str]:
    """What more images brought in the end, and to which class most; nothing where that was little, or may be luck."""
    rows = case.learning_curve
    last = rows[-1]
    fewer = next((row for row in reversed(rows[:-1]) if row["images"] <= 0.6 * last["images"]), rows[0])
    gain = last.get("gain") or {}
    won = gain.get("accuracy", last["accuracy"] - fewer["accuracy"])
    low = (gain["interval"] or [None])[0] if "interval" in gain else won  # null where all images are one group
    if won < GAINED or low is None or low <= 0:
        return "", ""
    classes = gain.get("classes") or {}
    evidence = (
        f"with {last['images']:,} training images accuracy is {last['accuracy']:.3f}, with {fewer['images']:,} it was "
        f"{fewer['accuracy']:.3f}: it still rises"
    )
    return evidence, max(classes, key=lambda name: classes[name]) if classes else ""


def _wide_open(case: Case) -> str:
    interval = case.metrics.get(case.headline, {}).get("accuracy_interval")
    each = case.images / max(1, len(case.training))
    if not interval or each >= FEW_OF_A_CLASS or interval[1] - interval[0] < 2 * WIDE:
        return ""
    return (
        f"{case.images:,} training images are {each:.0f} a class, and the accuracy could be anything from {interval[0]:.3f} to "
        f"{interval[1]:.3f}"
    )


def _made_the_most_of(case: Case) -> dict[str, Any]:
    """Few weights to learn, and every image judged once: the preset `photos`, but for what is done to the images."""
    recipe = case.recipe
    if case.images >= 2_000 or recipe.split.folds:
        return {}
    if recipe.strategy == "features":
        return {"split.folds": 5}
    taken = OF_A_HEAD if case.pretrained else OF_A_HEAD | OF_A_NETWORK
    head = flattened(presets.photos().model_dump(mode="json", include=taken))
    return {**dict(head), "split.folds": 5, "augment.mixup": 0.0, "augment.cutmix": 0.0}


def label_noise(case: Case) -> Diagnosis | None:
    """Labels that are likely wrong: found by `check`, or held-out images of which the model is sure to be something else."""
    # A note of that kind says that images have no label, which may be right.
    found = [finding for finding in case.found("label") if finding["severity"] != "note"]
    if found:
        wrong = sum(len(finding["images"]) for finding in found)
        total = max(1, case.images)
        if wrong < max(2, NOISE * total):
            return None
        evidence = f"{wrong:,} images of {total:,} have a label that is likely wrong: {found[0]['detail']}"
    else:
        wrong, sure, mistakes, total = confident_mistakes(case)
        low, high = wilson(wrong, sure)
        if wrong < 5 or low < NOISE or wrong / sure < AS_OFTEN * mistakes / total:
            return None
        evidence = (
            f"of the {sure:,} held-out images of which the model is surest, {wrong:,} ({wrong / sure:.1%}, interval {low:.1%} "
            f"to {high:.1%}) carry another label; of all {total:,} it is wrong in {mistakes / total:.1%}. Where pictures are "
            "hard a model is wrong when it doubts; where labels are wrong, when it is sure"
        )
    cure = (
        "look at them, mend them or leave them out (`sortal report --edit`, `sortal check --fix`); smoothing makes those that "
        "stay hurt less"
    )
    return Diagnosis(
        "label-noise", "warning", evidence, cure, {"loss.label_smoothing": max(0.1, case.recipe.loss.label_smoothing)}
    )


def confident_mistakes(case: Case) -> tuple[int, int, int, int]:
    """Held-out images of which the model is sure though another label was given; all of which it is sure; mistakes; images.

    Sure: the class is as likely as it is, on average, for images of that label (Northcutt, Jiang and Chuang 2021); of the label
    that was given less than a tenth is left.
    """
    told = case.predictions
    if told is None or told.task != "multi_class":
        return 0, 0, 0, 0
    rows = np.array([split != "train" for split in told.splits_N], dtype=bool) & (told.labels_N >= 0)
    probs_NK, labels_N = told.probs_NK[rows].astype(np.float64), told.labels_N[rows]
    if not len(labels_N):
        return 0, 0, 0, 0
    own_N = probs_NK[np.arange(len(labels_N)), labels_N]
    counts_K = np.bincount(labels_N, minlength=probs_NK.shape[1])
    sums_K: NDArray[Any] = np.bincount(labels_N, weights=own_N, minlength=probs_NK.shape[1])
    usual_K = np.where(counts_K > 0, sums_K / np.maximum(counts_K, 1), np.inf)
    said_N = probs_NK.argmax(axis=1)
    sure_N = probs_NK.max(axis=1) >= usual_K[said_N]
    wrong_N = sure_N & (said_N != labels_N) & (own_N < 0.1)
    return int(wrong_N.sum()), int(sure_N.sum()), int((said_N != labels_N).sum()), len(labels_N)


def shortcut(case: Case) -> Diagnosis | None:
    """The class can be told without looking at the thing itself."""
    found = case.found("shortcut")
    if not found:
        return None
    details = "; ".join(str(finding["detail"]) for finding in found[:3])
    change: dict[str, Any] = {}
    if any(word in details.lower() for word in BORDERS):
        change |= {"augment.crop": "resized", "augment.scale": [0.35, 0.8]}
    if any(word in details.lower() for word in COLOURS):
        change |= {"augment.grey": 0.3, "augment.brightness": 0.4, "augment.saturation": 0.4}
    cure = "take images in which it does not hold, or cut it away"
    if change:
        cure += "; until then augmentation can hide it from the network"
    severe = any(finding["severity"] == "severe" for finding in found)
    return Diagnosis("shortcut", "severe" if severe else "warning", details, cure, change)


def leakage(case: Case) -> Diagnosis | None:
    """Images that are judged were trained on."""
    found = case.found("copies-across-splits")
    if not found:
        return None
    copies = {source for finding in found for source in finding["images"]}
    evidence = str(found[0]["detail"])
    told = case.predictions
    if told is not None and told.task == "multi_class" and case.headline:
        rows = np.array([split == case.headline for split in told.splits_N]) & (told.labels_N >= 0)
        right_N = told.probs_NK.argmax(axis=1) == told.labels_N
        copied = np.array([source in copies for source in told.sources])
        if (rows & copied).any() and (rows & ~copied).any():
            judged, leaked, clean = (float(right_N[part].mean()) for part in (rows, rows & copied, rows & ~copied))
            evidence += (
                f". On the {int((rows & copied).sum()):,} of {int(rows.sum()):,} judged images that have a copy elsewhere "
                f"accuracy is {leaked:.3f}, on the others {clean:.3f}, and {judged:.3f} on all"
            )
    cure = "put copies on one side: `sortal check DATA --fix` writes such a manifest; the result above is too good"
    return Diagnosis("leakage", "severe", evidence, cure)


RULES: tuple[Callable[[Case], Diagnosis | None], ...] = (
    imbalance_ignored,
    too_little_data,
    label_noise,
    shortcut,
    leakage,
)
