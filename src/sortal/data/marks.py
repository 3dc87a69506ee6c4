"""Marks: what a person decided about images (other labels, set aside, one group), and the manifest that follows from it."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    excluded: bool | None = None
    """True sets it aside; False uses it again, if it could be used and was set aside by a decision."""
    group: int | None = None
    """Images of one number belong together, with all that shares a group with any of them already."""
    back: bool = False
    """What was decided since the run was trained is taken back first: labels, exclusion and group."""
    seen: tuple[tuple[str, ...], str | None] | None = None
    """Labels and exclusion when it was marked, so that what came from elsewhere since then can be told."""


def marked(manifest: Manifest, marks: Mapping[str, Mark], trained: Manifest | None = None) -> Manifest:
    """The manifest after the marks, by source; sources that it does not hold are passed over.

    Marked images join into one group with all that they shared a group with before. Where a group then stands on several
    sides of a split, all of it trains if any of it does, and judges choices if any of it does that: what a model was
    trained on must never judge it. `trained` is the manifest to which marks that take back go back.
    """
    rows = {source: row for row, source in enumerate(manifest.sources)}
    known = {rows[source]: mark for source, mark in marks.items() if source in rows}
    back = {row for row, mark in known.items() if mark.back}
    if back and trained is not None:
        manifest = _taken_back(manifest, trained, back)
    labels, exclusions = manifest.column("labels"), manifest.column("exclusion")
    for row, mark in known.items():
        if mark.labels is not None:
            labels[row] = list(mark.labels)
        exclusions[row] = excluded(exclusions[row], mark)
    groups = _joined(manifest.column("group"), known)
    splits = _on_one_side(
        manifest.column("split"), groups, {groups[row] for row, mark in known.items() if mark.group is not None}
    )
    changed = manifest.with_column("labels", labels).with_column("exclusion", exclusions)
    return changed.with_column("group", groups).with_column("split", splits)


def excluded(reason: str | None, mark: Mark) -> str | None:
    """Why an image is left out after a mark, where `reason` was why before; None where it is used."""
    if mark.excluded is None:
        return reason
    if mark.excluded:
        return BY_HAND if reason is None else reason
    return None if usable(reason) else reason


def usable(reason: str | None) -> bool:
    """Whether an image with this exclusion, or none, can be used: if left out, then by a decision."""
    return reason is None or reason.startswith(SET_ASIDE)


def _taken_back(manifest: Manifest, trained: Manifest, back: set[int]) -> Manifest:
    """The manifest with these rows as they were trained on.

    Where a row's group changed since, all that shared its old one go back to it, and to its side of the split: what shows the
    same must not be torn apart.
    """
    was = {source: row for row, source in enumerate(trained.sources)}
    place = [was.get(source) for source in manifest.sources]
    names = ("labels", "exclusion", "group", "split")
    now, old = ({name: each.column(name) for name in names} for each in (manifest, trained))
    regrouped: set[str] = set()
    for row in back:
        before = place[row]
        if before is None:
            continue
        now["labels"][row] = old["labels"][before]
        if usable(now["exclusion"][row]):
            now["exclusion"][row] = old["exclusion"][before]
        if now["group"][row] != old["group"][before]:
            now["group"][row], now["split"][row] = old["group"][before], old["split"][before]
            regrouped.add(old["group"][before])
    for row, before in enumerate(place):
        if before is not None and old["group"][before] is not None and old["group"][before] in regrouped:
            now["group"][row], now["split"][row] = old["group"][before], old["split"][before]
    for name in names:
        manifest = manifest.with_column(name, now[name])
    return manifest


def free_groups(manifest: Manifest, taken: Collection[int]) -> Iterator[int]:
    """The numbers, from 1 upwards, that neither a group of the manifest nor one of `taken` has."""
    names, used = set(manifest.column("group")), set(taken)
    return (number for number in itertools.count(1) if number not in used and group_name(number) not in names)


def group_name(number: int) -> str:
    """What a group of ours is called in a manifest."""
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
            for name in (old, group_name(mark.group)):  # the number may have become a group's name in an earlier version
                if name is not None:
                    theirs = find(f"1{name}")
                    ours = find(ours)
                    leader[max(ours, theirs)] = min(ours, theirs)
    joined: list[str | None] = []
    for row, old in enumerate(groups):
        number = marks[row].group if row in marks else None
        key = f"0{number:020d}" if number is not None else f"1{old}" if old is not None else None
        if key is None or key not in leader:
            joined.append(old)
        else:
            led = find(key)
            joined.append(group_name(int(led[1:])) if led[0] == "0" else led[1:])
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
