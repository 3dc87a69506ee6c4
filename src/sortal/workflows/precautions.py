"""Precautions: what a training owes its images before they are divided: copies in one group, and findings for its report.

Nothing here needs a network, so that it takes no time to speak of; what `sortal check` found with one is remembered and used.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from sortal.data.facts import Facts
from sortal.data.store import Cache
from sortal.events import Decision, Observer
from sortal.health import copies
from sortal.health.check import Seen, findings, images_of, units_of
from sortal.health.copies import Found
from sortal.health.cure import group_names, with_groups
from sortal.health.finding import Finding
from sortal.manifest import Manifest
from sortal.workflows.evidence import glanced

GROUPS = "copies"
"""What the groups of copies are remembered as, beside the splits of the same data set."""


@dataclass(frozen=True, slots=True)
class Precautions:
    """What was found before the images are divided."""

    manifest: Manifest
    """With copies in groups."""
    seen: Seen
    found: Found
    groups: Mapping[str, str]
    """Content hash to group of every image that has a copy, or stands in one group of the user's with one that has."""
    copied: Set[str]
    """The contents of which there is a copy."""
    checked: Set[str]
    """The contents of which `sortal check` knew."""

    def findings(self, divided: Manifest) -> list[Finding]:
        """What is wrong with the same images, now that they have their splits."""
        return findings(divided, self.seen, self.found)

    def decisions(self, divided: Manifest) -> list[Decision]:
        """What was done about copies, and whether the splits that they have keep them on one side: given ones may not."""
        used = divided.used
        rows = [row for row, content in enumerate(used.column("content")) if content in self.copied]
        if not rows:
            return []
        contents, splits = used.column("content"), used.column("split")
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(self.groups[contents[row]], set()).add(splits[row])
        apart = sum(len(each) > 1 for each in sides.values())
        pictures = "1 picture is" if len(sides) == 1 else f"{len(sides):,} pictures are"
        kept = "all of one picture stand on one side"
        if apart:
            kept = f"of {apart:,} your own splits hold some on several sides, and `sortal check DATA --fix` puts them on one"
        by = self._by([contents[row] for row in rows])
        reason = f"{pictures} there more than once, on {len(rows):,} images ({by}): {kept}"
        return [Decision("split.groups", f"{len(sides):,} of copies", reason)]

    def _by(self, contents: Sequence[str]) -> str:
        by_check = sum(content in self.checked for content in contents)
        if by_check == len(contents):
            return "found by sortal check"
        by = "told by bytes, pixels and perceptual hash"
        return f"{by_check:,} of them found by sortal check, the others {by}" if by_check else by


def taken(manifest: Manifest, observe: Observer) -> Precautions:
    """Copies that the scan shows and those that `sortal check` has found in this data set, in groups."""
    seen = replace(glanced(manifest.used, observe), cues=None, said=None)  # heads are left to `sortal check`
    images = images_of(manifest.used, seen.pixels)
    with Facts(Cache.default().facts, observe) as facts:
        known = facts.assigned(manifest.root, GROUPS)
    checked = {content: group for content, group in known.items() if group}
    names = _beyond(known, groups_of(manifest, copies.find(images), seen)) | checked
    # Once more with all that is known, so that what `sortal check` saw and the scan did not is told of given splits too.
    contents = [content or source for content, source in zip(images.contents, images.sources, strict=True)]
    twins = [names.get(content, content) for content in contents]
    # Some are told by their hash alone, and which ones `sortal check` had compared is not remembered.
    found = copies.find(images, np.unique(np.array(twins), return_inverse=True)[1], proved=False)
    # The user's own groups are joined with them as they are now: they may be others than when `sortal check` saw them.
    names = groups_of(manifest, found, seen)
    copied = {contents[row] for rows in found.all for row in rows.tolist()}
    return Precautions(with_groups(manifest, names), seen, found, names, copied, checked.keys())


def _beyond(known: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Those groups in which is an image that `sortal check` has not seen; of the others it knows better."""
    unknown = {group for content, group in names.items() if content not in known}
    return {content: group for content, group in names.items() if group in unknown}


def groups_of(manifest: Manifest, found: Found, seen: Seen) -> dict[str, str]:
    """Content hash to group of every image that has a copy."""
    images = images_of(manifest.used, seen.pixels)
    return group_names(manifest, units_of(manifest.used, images, found), copies.together(images, found))
