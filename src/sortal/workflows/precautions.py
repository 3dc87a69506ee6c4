"""Precautions: what a training owes its images before they are divided: copies in one group, and findings for its report.

Nothing here needs a network, so that it takes no time to speak of; what `sortal check` found with one is remembered and used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    decisions: list[Decision]
    seen: Seen
    found: Found

    def findings(self, divided: Manifest) -> list[Finding]:
        """What is wrong with the same images, now that they have their splits."""
        return findings(divided, self.seen, self.found)


def taken(manifest: Manifest, observe: Observer) -> Precautions:
    """Copies that the scan shows and those that `sortal check` has found in this data set, in groups; and why."""
    seen = replace(glanced(manifest.used, observe), cues=None)  # heads are left to `sortal check`
    found = copies.find(images_of(manifest.used, seen.pixels))
    with Facts(Cache.default().facts, observe) as facts:
        known = facts.assigned(manifest.root, GROUPS)
    checked = {content: group for content, group in known.items() if group}
    names = _beyond(known, groups_of(manifest, found, seen)) | checked
    grouped = with_groups(manifest, names)
    return Precautions(grouped, _told(grouped, names, checked), seen, found)


def _beyond(known: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Those groups in which is an image that `sortal check` has not seen; of the others it knows better."""
    unknown = {group for content, group in names.items() if content not in known}
    return {content: group for content, group in names.items() if group in unknown}


def groups_of(manifest: Manifest, found: Found, seen: Seen) -> dict[str, str]:
    """Content hash to group of every image that has a copy."""
    images = images_of(manifest.used, seen.pixels)
    return group_names(manifest, units_of(manifest.used, images, found), copies.together(images, found))


def _told(manifest: Manifest, names: dict[str, str], checked: dict[str, str]) -> list[Decision]:
    contents = [content for content in manifest.used.column("content") if content in names]
    groups = {names[content] for content in contents}
    if not groups:
        return []
    by_check = sum(content in checked for content in contents)
    by = "found by sortal check" if by_check == len(contents) else "told by bytes, pixels and perceptual hash"
    if 0 < by_check < len(contents):
        by = f"{by_check:,} of them found by sortal check, the others {by}"
    pictures = "1 picture is" if len(groups) == 1 else f"{len(groups):,} pictures are"
    reason = f"{pictures} there more than once, on {len(contents):,} images ({by}): all of one picture stand on one side"
    return [Decision("split.groups", f"{len(groups):,} of copies", reason)]
