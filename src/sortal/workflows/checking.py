"""Check: what is in a data set, and what is wrong with it, before anything is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortal.data.facts import Facts
from sortal.data.scan import Keep, Scanned
from sortal.data.scan import scan as scan_images
from sortal.data.store import Cache
from sortal.events import Observer, ignore
from sortal.health.check import findings
from sortal.health.finding import Finding
from sortal.manifest import Manifest
from sortal.preprocess import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Health:
    """A manifest and the findings about it."""

    manifest: Manifest
    findings: list[Finding]

    @property
    def severe(self) -> bool:
        return any(finding.severity == "severe" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "images": len(self.manifest.used),
            "classes": self.manifest.counts(),
            "splits": self.manifest.split_counts(),
            "findings": [finding.to_json() for finding in self.findings],
        }


def scan(data: str | Path, *, max_pixels: int = MAX_PIXELS, observe: Observer = ignore) -> Manifest:
    """The manifest of a folder, archive, CSV or Parquet file; raises `DataError`."""
    return scan_counting(data, max_pixels=max_pixels, observe=observe).manifest


def scan_counting(
    data: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    keep: Keep = lambda glimpse: None,
    observe: Observer = ignore,
) -> Scanned:
    """As `scan`, and how many images had to be decoded because the cache did not know them; their pixels may be kept."""
    with Facts(Cache.default().facts, observe) as facts:
        return scan_images(data, max_pixels=max_pixels, facts=facts, keep=keep, observe=observe)


def check(data: str | Path, *, max_pixels: int = MAX_PIXELS, observe: Observer = ignore) -> Health:
    """Scan and look for what is wrong."""
    manifest = scan(data, max_pixels=max_pixels, observe=observe)
    return Health(manifest, findings(manifest))
