"""The health of a data set: every question asked of the manifest's columns and of what was seen, the gravest answers first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health import copies
from sortal.health.classes import few_images, imbalance, on_all, unlabelled
from sortal.health.codes import Value, one_column_each
from sortal.health.copies import Found, Images
from sortal.health.drift import drift
from sortal.health.filefacts import filefacts
from sortal.health.files import unreadable
from sortal.health.finding import Finding
from sortal.health.head import Floats
from sortal.health.labels import alike, wrong_labels
from sortal.health.quality import Looks, quality
from sortal.health.shortcuts import shortcuts
from sortal.manifest import SPLITS, Manifest

GRAVITY = ("severe", "warning", "note")
FIRST = ("copies-across-splits", "copies-with-other-label")
"""Of equal gravity: leakage first, quarrels second, all else as it was asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the images in use besides the manifest; N rows, as in `manifest.used`. All of it may be missing."""

    pixels: tuple[bytes | None, ...] = ()
    looks: Looks | None = None
    cues: Mapping[str, Floats] | None = None
    """By what should not matter: numbers of shape (N, D)."""
    said: Mapping[str, Sequence[Value | None]] | None = None
    """By fact (`filefacts.FACTS`): what each file says of itself."""
    twins_N: NDArray[np.int64] | None = None
    """Equal for near copies, whose pixels were compared."""
    features_ND: Floats | None = None
    judged_NK: NDArray[np.floating] | None = None
    """Probabilities of each class by who did not see the image; NaN where nobody judged."""
    judged_by: str = ""


def images_of(used: Manifest, pixels: tuple[bytes | None, ...] = ()) -> Images:
    """The columns that copies are told by."""
    sizes = zip(used.column("width"), used.column("height"), strict=True)
    return Images(
        sources=used.sources,
        contents=used.column("content"),
        # In one order, so that copies with the same labels agree.
        labels=[tuple(sorted(each)) for each in used.column("labels")],
        splits=used.column("split"),
        phashes=used.column("phash"),
        sides=[None if width is None or height is None else min(width, height) for width, height in sizes],
        pixels=pixels,
    )


def findings(manifest: Manifest, seen: Seen | None = None, found: Found | None = None) -> list[Finding]:
    """All that is wrong, or may be, severe ones first; works on a manifest with or without splits, also an empty one.

    `found` are the copies, where the caller knows them already.
    """
    used, seen = manifest.used, seen or Seen()
    images = images_of(used, seen.pixels)
    found = found or copies.find(images, seen.twins_N)
    counts = manifest.counts()
    split_counts = {name: manifest.split(name).counts() for name in SPLITS if name in manifest.split_counts()}
    return ordered(
        [
            *unreadable(manifest.sources, manifest.column("exclusion"), manifest.column("labels")),
            *copies.told(images, found),
            *few_images(counts, split_counts, _by_class(images)),
            *imbalance(split_counts.get("train", counts), _by_class(images, "train" if "train" in split_counts else None)),
            *unlabelled([source for source, each in zip(images.sources, images.labels, strict=True) if not each], len(used)),
            *on_all(counts, len(used)),
            *(quality(images.sources, seen.looks, copies.together(images, found)) if seen.looks is not None else []),
            *_by_heads(used, images, found, seen),
        ]
    )


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """The gravest first; of equal gravity leakage before all else."""

    def place(finding: Finding) -> tuple[int, int]:
        return GRAVITY.index(finding.severity), FIRST.index(finding.kind) if finding.kind in FIRST else len(FIRST)

    return sorted(found, key=place)


def _by_heads(used: Manifest, images: Images, found: Found, seen: Seen) -> list[Finding]:
    """What small heads find out. Copies and groups stand on one side of every fold."""
    units_N = units_of(used, images, found)
    views = {
        name: values for name, values in (("what they show", seen.features_ND), ("files", _files(seen))) if values is not None
    }
    told = drift(views, images.sources, images.splits, units_N)
    if used.task != "multi_class" or len(used.classes) < 2:
        return told
    if seen.cues:
        told = [*told, *shortcuts(seen.cues, images.sources, used.classes, used.labels_N, units_N)]
    if seen.said:
        told = [*told, *filefacts(seen.said, images.sources, used.classes, used.labels_N, units_N)]
    if seen.judged_NK is not None:
        rows = np.flatnonzero(np.isfinite(seen.judged_NK).all(axis=1))
        labels, probs = used.labels_N[rows], seen.judged_NK[rows].astype(np.float64)
        sources = [images.sources[row] for row in rows.tolist()]
        told = [
            *told,
            *wrong_labels(sources, used.classes, labels, probs, seen.judged_by),
            *alike(sources, used.classes, labels, probs),
        ]
    return told


def units_of(used: Manifest, images: Images, found: Found) -> NDArray[np.int64]:
    """Numbers that are equal for rows of one picture or one group, shape (N,)."""
    return copies.together(images, Found(found.bytes, found.pixels, [*found.near, *copies.equal_rows(used.column("group"))]))


def _files(seen: Seen) -> Floats | None:
    """What a head sees of the files besides the pictures: every cue, camera and software."""
    if not seen.cues:
        return None
    said = [one_column_each(seen.said[name]) for name in ("camera", "software") if seen.said and name in seen.said]
    return np.concatenate([*seen.cues.values(), *said], axis=1)


def _by_class(images: Images, split: str | None = None) -> Mapping[str, list[str]]:
    """The sources of each class, of one split or of all."""
    by_class: dict[str, list[str]] = {}
    for source, names, side in zip(images.sources, images.labels, images.splits, strict=True):
        for name in names if split in (None, side) else ():
            by_class.setdefault(name, []).append(source)
    return by_class
