"""The health of a data set: every question asked of the manifest's columns, the gravest answers first."""

from collections.abc import Mapping

from sortal.health.classes import few_images, imbalance, on_all, unlabelled
from sortal.health.copies import Images, copies
from sortal.health.files import unreadable
from sortal.health.finding import Finding
from sortal.manifest import SPLITS, Manifest

GRAVITY = ("severe", "warning", "note")


def findings(manifest: Manifest) -> list[Finding]:
    """All that is wrong, or may be, severe ones first; works on a manifest with or without splits, also an empty one."""
    used = manifest.used
    # In one order, so that copies with the same labels agree.
    labels = [tuple(sorted(each)) for each in used.column("labels")]
    counts = manifest.counts()
    split_counts = {name: manifest.split(name).counts() for name in SPLITS if name in manifest.split_counts()}
    found = [
        *unreadable(manifest.sources, manifest.column("exclusion"), manifest.column("labels")),
        *copies(_images(used, labels)),
        *few_images(counts, split_counts, _by_class(used.sources, labels)),
        *imbalance(split_counts.get("train", counts)),
        *unlabelled([source for source, each in zip(used.sources, labels, strict=True) if not each], len(used)),
        *on_all(counts, len(used)),
    ]
    return sorted(found, key=lambda finding: GRAVITY.index(finding.severity))


def _images(used: Manifest, labels: list[tuple[str, ...]]) -> Images:
    sizes = zip(used.column("width"), used.column("height"), strict=True)
    return Images(
        sources=used.sources,
        contents=used.column("content"),
        labels=labels,
        splits=used.column("split"),
        phashes=used.column("phash"),
        sides=[None if width is None or height is None else min(width, height) for width, height in sizes],
    )


def _by_class(sources: list[str], labels: list[tuple[str, ...]]) -> Mapping[str, list[str]]:
    images: dict[str, list[str]] = {}
    for source, names in zip(sources, labels, strict=True):
        for name in names:
            images.setdefault(name, []).append(source)
    return images
