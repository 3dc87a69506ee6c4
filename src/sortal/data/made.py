"""Made: what an image file says of itself besides its picture: camera, exposure, date, place, and how it was saved.

Read from the file's bytes while it is scanned, in microseconds where there is no EXIF data. All of it may be missing or false,
and damaged metadata counts as none: it is a file format of its own, and does not make an image unreadable.
"""

import contextlib
import math
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any
from zlib import crc32

from PIL import Image

from sortal.preprocess import JPEG_START, format_of

Value = str | float | list[float]
"""A word, a number, or numbers that belong together."""

FACTS = (
    "camera", "software", "orientation", "exposure time", "f-number", "ISO", "focal length", "flash", "date", "place",
    "JPEG tables", "chroma subsampling", "colour profile", "resolution", "format",
)  # fmt: skip
"""All that may be told. Numbers: exposure time in seconds, focal length in millimetres, date in days since 1970, place in
degrees north and east; the rest are words."""

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
MAKE, MODEL, SOFTWARE, ORIENTATION, CHANGED = 0x010F, 0x0110, 0x0131, 0x0112, 0x0132
EXPOSURE, F_NUMBER, ISO, TAKEN, FLASH, FOCAL = 0x829A, 0x829D, 0x8827, 0x9003, 0x9209, 0x920A
LONGEST = 80
"""Characters of a word that are kept."""
TABLES, START_OF_SCAN, END = 0xDB, 0xDA, 0xD9
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that tell the sizes of the colour channels (ITU T.81, table B.1)."""
LIGHT = 3_685
"""Sum of T.81's example of a table for light, of which writers take shares by their quality."""


def made(data: bytes, info: Mapping[Any, Any]) -> dict[str, Value]:
    """What a file that was decoded says of itself, by `FACTS`; what it does not say is left out.

    Args:
        data: all its bytes.
        info: what Pillow found beside the picture (`Image.info`), which stays with it through conversion and turning.
    """
    kind = format_of(data)
    found: dict[str, Value] = {"format": kind}
    if data.startswith(JPEG_START):
        tables, subsampling = _of_jpeg(data)
        if tables:
            found["JPEG tables"] = _named(tables)
        if subsampling:
            found["chroma subsampling"] = subsampling
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        found["colour profile"] = _profile(profile)
    if "dpi" in info:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            found["resolution"] = " x ".join(f"{round(float(each))}" for each in info["dpi"]) + " dpi"
    # A TIFF is itself what EXIF data are made as.
    raw = data if kind == "TIFF" else info.get("exif")
    if isinstance(raw, bytes) and raw:
        found |= _of_exif(raw)
    return found


def _of_exif(raw: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    try:
        exif = Image.Exif()
        exif.load(raw)
        inner, where = exif.get_ifd(EXIF_IFD), exif.get_ifd(GPS_IFD)
        words = {
            "camera": _joined(exif.get(MAKE), exif.get(MODEL)),
            "software": _joined(exif.get(SOFTWARE)),
            "orientation": _joined(exif.get(ORIENTATION)),
            "flash": _joined(inner.get(FLASH)),
        }
        iso = inner.get(ISO)
        numbers = {
            "exposure time": _number(inner.get(EXPOSURE)),
            "f-number": _number(inner.get(F_NUMBER)),
            "ISO": _number(iso[0] if isinstance(iso, tuple) and iso else iso),
            "focal length": _number(inner.get(FOCAL)),
            "date": _day(inner.get(TAKEN)) or _day(exif.get(CHANGED)),
        }
        found |= {name: word for name, word in words.items() if word}
        found |= {name: number for name, number in numbers.items() if number is not None}
        north, east = _degrees(where.get(2), where.get(1)), _degrees(where.get(4), where.get(3))
        if north is not None and east is not None:
            found["place"] = [north, east]
    except Exception:  # whatever a parser of damaged metadata may raise; what was read before counts
        pass
    return found


def _joined(*values: object) -> str:
    return " / ".join(str(value).strip(" \0") for value in values if value is not None)[:LONGEST]


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _day(value: object) -> float | None:
    """Days since 1970 of '2009:07:14 12:30:00'; None for anything else, such as a clock that was never set."""
    try:
        return float(date(*map(int, str(value)[:10].replace("-", ":").split(":"))).toordinal() - date(1970, 1, 1).toordinal())
    except (TypeError, ValueError):
        return None


def _degrees(value: object, side: object) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    parts = [_number(part) for part in value]
    if any(part is None for part in parts):
        return None
    degrees = sum((part / 60.0**place for place, part in enumerate(parts) if part is not None), start=0.0)
    return -degrees if str(side)[:1] in ("S", "W") else degrees


def _of_jpeg(data: bytes) -> tuple[bytes, str]:
    """The quantisation tables before the first scan, and how much smaller the channels of colour are, '' for grey."""
    at, tables, subsampling = 2, b"", ""
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (START_OF_SCAN, END):
            break
        if marker == 0xFF:  # may fill up
            at += 1
            continue
        length = (data[at + 2] << 8) + data[at + 3]
        if marker == TABLES:
            tables += data[at + 4 : at + 2 + length]
        elif marker in FRAMES:
            subsampling = _subsampling(data[at + 4 : at + 2 + length])
        at += 2 + length
    return tables, subsampling


@lru_cache(maxsize=256)
def _subsampling(frame: bytes) -> str:
    """'4:2:0' and the like from a frame's header: the samples of light over those of colour, across and down."""
    factors = [(byte >> 4, byte & 15) for byte in frame[7::3]][: frame[5] if len(frame) > 5 else 0]
    if len(factors) < 3:
        return ""
    (across, down), (colour_across, colour_down) = factors[0], factors[1]
    if not colour_across or not colour_down:
        return ""
    shares = across // colour_across, down // colour_down
    named = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}
    return named.get(shares, f"{shares[0]} x {shares[1]}")


@lru_cache(maxsize=1024)
def _named(tables: bytes) -> str:
    """A name for tables, equal for equal ones, and the quality at which the usual writer would have about the same."""
    share = sum(tables[1:65]) / LIGHT
    quality = 100 - 50 * share if share < 1 else 50 / share
    return f"{crc32(tables):08x}, like quality {quality:.0f}"


@lru_cache(maxsize=256)
def _profile(profile: bytes) -> str:
    """The name that a colour profile gives itself (ICC.1, 9.2.41), or a number made from its bytes."""
    try:
        entries = range(132, 132 + 12 * min(100, int.from_bytes(profile[128:132], "big")), 12)
        at = next(
            int.from_bytes(profile[entry + 4 : entry + 8], "big") for entry in entries if profile[entry : entry + 4] == b"desc"
        )
        if profile[at : at + 4] == b"desc":  # version 2: length, ASCII
            raw = profile[at + 12 : at + 12 + int.from_bytes(profile[at + 8 : at + 12], "big")]
            name = raw.decode("ascii")
        else:  # version 4: UTF-16 of the first language, where its record says
            length, start = (int.from_bytes(profile[at + low : at + low + 4], "big") for low in (20, 24))
            name = profile[at + start : at + start + length].decode("utf-16-be")
        name = name.strip(" \0")
    except (StopIteration, UnicodeDecodeError):
        name = ""
    return name[:LONGEST] or f"{crc32(profile):08x}"
