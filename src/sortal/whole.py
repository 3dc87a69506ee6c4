"""Whole: whether a PNG holds all the lines of its picture; decoders leave those black that its data end before.

A file that was cut off is no such case, since its decoder misses bytes. Here the packed data are complete in themselves, and
hold too little.
"""

import struct
import zlib
from collections.abc import Iterator

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""PNG colour type -> values a pixel (ISO/IEC 15948, 11.2.2)."""
PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
"""Of an interlaced picture: first column and step, first line and step (ISO/IEC 15948, 8.2)."""
AT_ONCE = 1 << 16
"""Bytes that are unpacked at a time: they may be packed a thousand to one."""


def has_all_lines(data: bytes) -> bool:
    """Whether the packed data of a PNG hold every line of it, each with the byte that names its filter; makes no picture.

    Raises `ValueError` for a header that is none; only a PNG whose header was understood should be asked about.
    """
    width, height, depth, colour_type, interlaced = _header(data)
    missing = 0
    for left, across, top, down in PASSES if interlaced else ((0, 1, 0, 1),):
        columns, lines = len(range(left, width, across)), len(range(top, height, down))
        if columns:
            missing += lines * (1 + (columns * SAMPLES[colour_type] * depth + 7) // 8)
    unpacker = zlib.decompressobj()
    packed = _packed(data)
    try:
        while missing > 0 and not unpacker.eof:
            part = unpacker.unconsumed_tail or next(packed, b"")
            lines_of_it = unpacker.decompress(part, AT_ONCE)
            if not part and not lines_of_it:
                break
            missing -= len(lines_of_it)
    except zlib.error:
        pass  # whatever came before counts
    return missing <= 0


def is_interlaced(data: bytes) -> bool:
    """Whether a PNG comes in seven passes, so that no line of it is the last one read; raises as `has_all_lines`."""
    return bool(_header(data)[4])


def _header(data: bytes) -> tuple[int, int, int, int, int]:
    """Width, height, bits a value, colour type, and 1 if interlaced."""
    for name, start, length in _chunks(data):
        if name == b"IHDR" and length >= 13:
            width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", data[start : start + 13])
            if colour_type in SAMPLES:
                return width, height, depth, colour_type, interlaced
    raise ValueError("a PNG without a header")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each."""
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if at + 8 + length > len(data):
            return
        yield name, at + 8, length
        at += 12 + length


def _packed(data: bytes) -> Iterator[bytes]:
    """The packed data in small parts, as far as their chunks follow each other."""
    begun = False
    for name, start, length in _chunks(data):
        if name == b"IDAT":
            begun = True
            for low in range(start, start + length, AT_ONCE):
                yield data[low : min(low + AT_ONCE, start + length)]
        elif begun:
            return
