"""Pictures in a page: data URIs, as many as there is room for, and which pictures a report wants."""

import base64
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sortal.errors import DataError
from sortal.reporting.model import Report

MOST_CARDS = 48
"""Mistakes shown as cards."""
MOST_INPUTS = 24
"""Training inputs shown."""
MOST_OF_FINDING, MOST_OF_GROUPS, MOST_PROPOSED = 6, 12, 24
"""Pictures of one finding shown; of one about copies, and of one about labels, of which each has to be looked at."""
MOST_NEAREST = 4
"""Training images shown beside one mistake."""
MOST_BYTES = 7 << 20
"""Of pictures in one page; what is beyond is left out and counted."""
MAP = re.compile(r"data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image for the page: its address (all of it, as a data URI), what it shows, and whether its pixels should stay
    square.
    """

    address: str
    caption: str
    tiny: bool


class Room:
    """Hands out data URIs until the room for pictures is used up."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.left = most

    def picture(self, data: bytes | None, caption: str) -> Picture | None:
        """A JPEG or PNG file as a picture; None without data or without room. Raises `DataError` for other bytes."""
        if data is None or len(data) * 4 // 3 > self.left:
            return None
        self.left -= len(data) * 4 // 3
        if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
            kind, tiny = "png", struct.unpack(">I", data[16:20])[0] <= 64
        elif data.startswith(b"\xff\xd8\xff"):
            kind, tiny = "jpeg", False
        else:
            raise DataError(f"the picture for {caption!r} is neither JPEG nor PNG", hint="encode it as one of them")
        return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", caption, tiny)

    def map(self, address: str | None, caption: str) -> Picture | None:
        """A picture that is a data URI already; None without room. Raises `DataError` for any other address."""
        if not address or len(address) > self.left:
            return None
        if not MAP.fullmatch(address):
            raise DataError(f"the map of {caption!r} is no picture inside the report", hint="write the report anew")
        self.left -= len(address)
        return Picture(address, caption, tiny=False)


def wanted_thumbnails(report: Report) -> list[str]:
    """The sources that the page shows as cards: make thumbnails of these, 160 to 320 pixels wide."""
    return [mistake["source"] for mistake in report.mistakes[:MOST_CARDS]]


def clusters(finding: Mapping[str, Any]) -> list[list[str]]:
    """The sources of a finding that are shown, those of one group of copies together."""
    if finding.get("groups"):
        found: list[list[str]] = []
        left = MOST_OF_GROUPS
        for group in finding["groups"]:
            if len(group) > left and found:
                break
            found.append(list(group[:left]))
            left -= len(found[-1])
        return found
    most = MOST_PROPOSED if finding.get("proposed") else MOST_OF_FINDING
    return [list(finding["images"][:most])]


def wanted_small(report: Report) -> list[str]:
    """The sources that the page shows small, the first to be shown first: make thumbnails of these, about 96 pixels wide.

    Some may be images that could not be read; they stay without a thumbnail.
    """
    found = [source for finding in report.findings for cluster in clusters(finding) for source in cluster]
    found += [
        near["source"]
        for source in wanted_thumbnails(report)
        for near in report.maps.get(source, {}).get("nearest", [])[:MOST_NEAREST]
    ]
    found += [image["source"] for row in report.examples for image in row["images"]]
    return list(dict.fromkeys(found))
