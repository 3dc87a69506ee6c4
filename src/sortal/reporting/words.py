"""Words: the sentences in which a report says what was found, on what it was found, and what was chosen on it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

HEADLINE_ORDER = ("cross_validation", "test", "val", "train")
"""The first of these splits that was scored gives the headline; see `basis` for what each is worth."""

NAMES = {"cross_validation": "cross-validation", "test": "test", "val": "validation", "train": "training"}

CHOICES = {
    "epoch": "the epoch to ship",
    "stop": "when to stop",
    "rate": "when the learning rate falls",
    "recipe": "the recipe",
    "calibration": "the calibration of the probabilities",
    "vector": "a calibration class by class",
    "temperature": "the temperature of the probabilities",
    "thresholds": "the thresholds of the labels",
}
"""What can have been chosen on a split. All but those in `HARMLESS` flatter accuracy."""
HARMLESS = ("calibration", "temperature")
"""They leave the order of the classes alone."""


def percent(share: float, images: int) -> str:
    """A share as a percentage with as many decimals as so many images can tell apart; only 1 itself becomes '100.0%'.

    >>> percent(0.9512, 245), percent(0.94018, 10_000), percent(0.9999, 10_000), percent(0.99999, 100_000)
    ('95.1%', '94.02%', '99.99%', '99.999%')
    """
    digits = 1 if images < 2000 else 2
    while share < 1 and round(100 * share, digits) >= 100 and digits < 9:
        digits += 1
    return f"{100 * share:.{digits}f}%"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign.

    >>> points(0.0123), points(-0.0004), points(0.0)
    ('+1.2', '0.0', '0.0')
    """
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "\u2212") if rounded else "0.0"  # a real minus sign


def split_name(split: str) -> str:
    """A split as a person says it: 'validation' for 'val'; names of others stay."""
    return NAMES.get(split, split)


def headline_split(splits: Sequence[str]) -> str:
    """Which of the scored splits gives the headline; a split of another name only where there is none of ours."""
    return next((split for split in HEADLINE_ORDER if split in splits), splits[0])


def answer(split: str, metrics: Mapping[str, Any], *, score: str = "accuracy", was_right: str = "are sorted correctly") -> str:
    """The first sentence: a score that is a share of the images, and its interval."""
    images = metrics["images"]
    low, high = (percent(limit, images) for limit in interval(metrics, score))
    which = "its own training images" if split == "train" else "images it was not trained on"
    return f"{percent(metrics[score], images)} of {which} {was_right}; the 95% interval runs from {low} to {high}."


def interval(metrics: Mapping[str, Any], score: str) -> tuple[float, float]:
    """The 95% interval of a score, wherever a metrics object has it."""
    low, high = metrics.get(f"{score}_interval") or metrics["intervals"][score]
    return low, high


def basis(split: str, images: int, *, chosen: Sequence[str], folds: int | None = None) -> str:
    """The second sentence: on what data the score was taken and what was chosen on it (keys of `CHOICES`)."""
    what = f"{images:,} {split_name(split)} image{'s' if images != 1 else ''}"
    if split == "cross_validation":
        how = f"{folds}-fold cross-validation" if folds else "cross-validation"
        taken = (
            f"Taken on {images:,} training images in {how}: each was judged by a model that never saw it, with every choice "
            "made inside the folds, and the model that is shipped was then trained on all of them"
        )
    elif split == "train":
        taken = (
            f"Taken on {what}, since nothing was held back: this says how well they were learnt, not how new images will fare"
        )
    elif split == "val":
        taken = f"Taken on {what}, since there is no test split"
    elif split == "test":
        taken = f"Taken on {what}"
    else:
        taken = f"Taken on {images:,} images of the split {split!r}"
    if split == "train":
        return f"{taken}."
    them = "it" if images == 1 else "them"
    if chosen:
        flatters = any(key not in HARMLESS for key in chosen)
        expect = "so expect a little less on new images" if flatters else "which does not change this score"
        was = "was" if len(chosen) == 1 else "were"
        return f"{taken}; {_listed([CHOICES[key] for key in chosen])} {was} chosen on {them}, {expect}."
    return f"{taken}." if split == "cross_validation" else f"{taken}; nothing was chosen on {them}."


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(0.42), duration(8.31), duration(75), duration(7322)
    ('0.4 s', '8.3 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sentence(text: str) -> str:
    """A text that begins with a capital; the rest stays as it is.

    >>> sentence("JPEG quality"), sentence("blur"), sentence("")
    ('JPEG quality', 'Blur', '')
    """
    return text[:1].upper() + text[1:]


def figure(value: float) -> str:
    """A number of which nothing more is known, with four digits.

    >>> figure(0.91234), figure(12000), figure(3)
    ('0.9123', '12,000', '3')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


# Marks that turn the direction of the text after them, and control characters: a name could pass for another with them.
STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with marks spelt out that would steer the text around them.

    >>> plain("photo\u202egpj.exe")
    'photo\\\\u202egpj.exe'
    """
    return STEERING.sub(lambda mark: mark[0].encode("unicode_escape").decode(), text)
