"""Marks: what a person decided about images (other labels, set aside, one group), and the manifest that follows from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sortal.manifest import SET_ASIDE, SPLITS, Manifest

BY_HAND, BY_CHECK = f"{SET_ASIDE}hand", f"{SET_ASIDE}sortal check"
GROUP = "marked-"
"""How groups of ours are called, with a number behind it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What was decided about one image; what is None or False stays as it is."""

    labels: tuple[str, ...] | None = None
    excluded: bool = False
    group: int | None = None
    """Images of one number belong together, with all that shares a group with any of them already."""


def marked(manifest: Manifest, marks: Mapping[str, Mark]) -> Manifest:
    """The manifest after the marks, by source; sources that it does not hold are passed over.

    Marked images join into one group with all that they shared a group with before. Where a group then stands on several
    sides of a split, all of it trains if any of it does, and judges choices if any of it does that: what a model was
    trained on must never judge it.
    """
    rows = {source: row for row, source in enumerate(manifest.sources)}
    known = {rows[source]: mark for source, mark in marks.items() if source in rows}
    labels, exclusions = manifest.column("labels"), manifest.column("exclusion")
    for row, mark in known.items():
        if mark.labels is not None:
            labels[row] = list(mark.labels)
        if mark.excluded and exclusions[row] is None:
            exclusions[row] = BY_HAND
    groups = _joined(manifest.column("group"), known)
    splits = _on_one_side(
        manifest.column("split"), groups, {groups[row] for row, mark in known.items() if mark.group is not None}
    )
    changed = manifest.with_column("labels", labels).with_column("exclusion", exclusions)
    return changed.with_column("group", groups).with_column("split", splits)


def free_group(manifest: Manifest, taken: Iterable[int]) -> int:
    """The lowest number, from 1, that neither a group of the manifest nor one of `taken` has."""
    names = {name for name in manifest.column("group") if name is not None}
    used = set(taken)
    return next(number for number in range(1, len(names) + len(used) + 2) if number not in used and _name(number) not in names)


def _name(number: int) -> str:
    return f"{GROUP}{number}"


def _joined(groups: Sequence[str | None], marks: Mapping[int, Mark]) -> list[str | None]:
    """Each row's group after joining; marked numbers that meet in one old group become one, the lowest of them."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while (up := leader.setdefault(name, name)) != name:
            name = up
        return name

    # Zero-padded, so that of two groups of ours the lower number leads; an old name never does.
    for row, mark in marks.items():
        if mark.group is not None:
            ours, old = find(f"0{mark.group:020d}"), groups[row]
            theirs = find(f"1{old}") if old is not None else ours
            leader[max(ours, theirs)] = min(ours, theirs)
    joined: list[str | None] = []
    for row, old in enumerate(groups):
        number = marks[row].group if row in marks else None
        key = f"0{number:020d}" if number is not None else f"1{old}" if old is not None else None
        if key is None or key not in leader:
            joined.append(old)
        else:
            led = find(key)
            joined.append(_name(int(led[1:])) if led[0] == "0" else led[1:])
    return joined


def _on_one_side(splits: Sequence[str | None], groups: Sequence[str | None], touched: set[str | None]) -> list[str | None]:
    """Each row's split; rows of a touched group that have one all get the first of theirs, in the order train, val, test."""
    first: dict[Any, int] = {}
    for split, group in zip(splits, groups, strict=True):
        if group in touched and split in SPLITS:
            first[group] = int(np.minimum(first.get(group, len(SPLITS)), SPLITS.index(split)))
    return [
        SPLITS[first[group]] if group in touched and split is not None and group in first else split
        for split, group in zip(splits, groups, strict=True)
    ]
