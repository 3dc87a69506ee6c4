"""Classes: whether there are enough images of each, and whether some have many times more than others."""

from collections.abc import Mapping, Sequence

from sortal.health.finding import Finding, Severity, counted, some

FEW = 10
"""Training images of a class below which its score says little: of ten, one mistake more or less is ten points."""
NOTABLE_RATIO, LARGE_RATIO = 3.0, 10.0
"""Largest to smallest class. At 10 and beyond, Buda et al. (2018, 'A systematic study of the class imbalance problem in
convolutional neural networks') see the smaller classes suffer; below 3 hardly anything is to be seen."""


EXAMPLES = 12
"""Images of the smallest class that a finding about it shows."""


def imbalance(counts: Mapping[str, int], images: Mapping[str, Sequence[str]] | None = None) -> list[Finding]:
    """Whether the largest class has many times the images of the smallest: a note from 3 times on, a warning from 10.

    `counts` are images in use by class, `images` their sources: some of the smallest class are its example. Classes without any
    are `few_images`' matter.
    """
    present = {name: count for name, count in counts.items() if count}
    if len(present) < 2:
        return []
    small, large = min(present, key=lambda name: present[name]), max(present, key=lambda name: present[name])
    ratio = present[large] / present[small]
    if ratio < NOTABLE_RATIO:
        return []
    return [
        Finding(
            kind="imbalance",
            severity="warning" if ratio >= LARGE_RATIO else "note",
            images=tuple((images or {}).get(small, ())[:EXAMPLES]),
            detail=f"{large} has {ratio:.1f} times the images of {small}: {present[large]:,} against {present[small]:,}",
            cure="add images of the small classes; judge by macro_f1 and the per-class table rather than by accuracy",
        )
    ]


def few_images(
    counts: Mapping[str, int], split_counts: Mapping[str, Mapping[str, int]], images: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """Classes without images, with fewer than `FEW`, or missing from a split that others are in; and sets of one class.

    Args:
        counts: images in use by class; 0 where all were set aside.
        split_counts: split name to images in use by class, for the splits that have images.
        images: class to sources of its images in use; wanted for small classes alone.
    """
    findings = []
    empty = [name for name, count in counts.items() if not count]
    small = [name for name, count in counts.items() if 0 < count < FEW]
    if len(counts) - len(empty) < 2:
        found = f"only {next(name for name in counts if counts[name])}" if len(counts) > len(empty) else "nothing"
        findings.append(
            _few("severe", (), f"there is {found} to learn: a classifier needs images of two classes or more",
                 "give each class a folder of its own, side by side")
        )  # fmt: skip
    if empty:
        findings.append(
            _few("severe", (), f"{counted(len(empty), 'class')} without a single usable image: {some(empty)}",
                 "add images, or remove the class")
        )  # fmt: skip
    if small:
        sizes = some([f"{name} has {counted(counts[name], 'image')}" for name in small])
        findings.append(
            _few("warning", [source for name in small for source in images[name]],
                 f"{counted(len(small), 'class')} with fewer than {FEW} images: {sizes}",
                 "add images: of so few neither the network nor its score can be trusted")
        )  # fmt: skip
    for split, found_in in split_counts.items():
        missing = [name for name, count in counts.items() if count and not found_in.get(name)]
        if missing:
            findings.append(
                _few("severe" if split == "train" else "warning", (),
                     f"{split} has no image of {counted(len(missing), 'class')}: {some(missing)}",
                     f"move some images of each class to {split}, or give no splits and have them assigned")
            )  # fmt: skip
    return findings


def unlabelled(sources: Sequence[str], images: int) -> list[Finding]:
    """A note about images without a label, among those of several: `sources` of them, `images` in all."""
    if not sources:
        return []
    have = "images has" if len(sources) == 1 else "images have"
    return [
        Finding(
            kind="label",
            severity="note",
            images=tuple(sources),
            detail=f"{len(sources):,} of {images:,} {have} no label: {some(list(sources))}",
            cure="nothing, if they show none of the labels: they teach what none looks like; else label them",
        )
    ]


def on_all(counts: Mapping[str, int], images: int) -> list[Finding]:
    """Labels that every image in use has: of several labels an image, one that is always there cannot be learnt."""
    always = [name for name, count in counts.items() if count == images]
    if not always or len(counts) < 2:
        return []
    return [
        Finding(
            kind="label",
            severity="warning",
            images=(),
            detail=f"all {images:,} images have the label {some(always)}: nothing shows what its absence looks like",
            cure="add images without it, or remove the label",
        )
    ]


def _few(severity: Severity, images: Sequence[str], detail: str, cure: str) -> Finding:
    return Finding("few-images", severity, tuple(images), detail, cure)
