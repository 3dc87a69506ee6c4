"""Cures that a manifest can hold: copies in one group and on one side, and rows set aside with their reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.manifest import SPLITS, Manifest

PREFIX = "copies "
"""Of the name of a group that we made; the rest is the beginning of a content hash, so that it stays the same."""


@dataclass(frozen=True, slots=True)
class Cured:
    """A manifest and what is different in it, by source."""

    manifest: Manifest
    grouped: Mapping[str, str]
    """Rows that stand in a group of copies: source to group."""
    moved: Mapping[str, tuple[str, str]]
    """Rows that changed their split: from, to."""
    quarantined: Mapping[str, str]
    """Rows that were set aside now, with the reason."""


def group_names(manifest: Manifest, units_N: NDArray[np.int64], copies_N: NDArray[np.int64]) -> dict[str, str]:
    """Content hash to group for every image in use that has a copy; rows of `manifest.used`.

    Args:
        units_N: equal for rows that copies or groups of the user connect.
        copies_N: equal for rows of the same picture. Rows that only the user's groups connect keep those.
    """
    contents, groups = manifest.used.column("content"), manifest.used.column("group")
    several_N = np.bincount(copies_N, minlength=len(copies_N))[copies_N] > 1
    names: dict[str, str] = {}
    for unit in np.unique(units_N[several_N]).tolist():
        rows = np.flatnonzero(units_N == unit).tolist()
        given = sorted({groups[row] for row in rows} - {None})
        name = given[0] if given else PREFIX + min(contents[row] for row in rows)[:12]
        names |= {contents[row]: name for row in rows}
    return names


def with_groups(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
    """The manifest in which every image in use whose content has a name here is in that group."""
    rows = zip(manifest.column("group"), manifest.column("content"), manifest.column("exclusion"), strict=True)
    groups = [names.get(content or "", group) if exclusion is None else group for group, content, exclusion in rows]
    return manifest.with_column("group", groups)


def cured(manifest: Manifest, names: Mapping[str, str], quarantine: Mapping[str, str]) -> Cured:
    """The manifest with copies grouped, each group on one side, and rows set aside.

    A group that stands in training and elsewhere goes to training as a whole, one in validation and test to validation: what a
    model was trained on, or chosen by, must not judge it. No row is removed.

    Args:
        names: content hash to group.
        quarantine: source to the reason.
    """
    exclusions = [
        exclusion or quarantine.get(source)
        for exclusion, source in zip(manifest.column("exclusion"), manifest.sources, strict=True)
    ]
    grouped = with_groups(manifest.with_column("exclusion", exclusions), names)
    sides: dict[str, str] = {}
    rows = list(zip(grouped.used.column("group"), grouped.used.column("split"), grouped.used.column("content"), strict=True))
    for group, split, content in rows:
        if content in names and split is not None:
            sides[group] = min(sides.get(group, split), split, key=SPLITS.index)
    splits: list[str | None] = grouped.column("split")
    moved: dict[str, tuple[str, str]] = {}
    all_rows = zip(
        grouped.sources, grouped.column("group"), grouped.column("content"), grouped.column("exclusion"), strict=True
    )
    for row, (source, group, content, exclusion) in enumerate(all_rows):
        side, before = sides.get(group or ""), splits[row]
        if exclusion is None and content in names and side is not None and before is not None and side != before:
            moved[source] = (before, side)
            splits[row] = side
    in_groups = {
        source: group
        for source, group, content in zip(
            grouped.used.sources, grouped.used.column("group"), grouped.used.column("content"), strict=True
        )
        if content in names
    }
    return Cured(grouped.with_column("split", splits), in_groups, moved, dict(quarantine))
