"""Whatever is sent gets a clean refusal within two seconds, and the server goes on as it was."""

import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.serving.served import Served, answer, picture, post, status

SECONDS = 2.0
MOST_MEMORY = 700 << 20
"""What the server and its two decoders may take together, whatever is sent: they take 150 MB idle."""


def png(width: int, height: int, data: bytes, *, kind: int = 2, depth: int = 8, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb(width: int, height: int) -> bytes:
    """A PNG whose pixels are all the same, packed a thousand to one."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    return png(width, height, b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


def text_bomb() -> bytes:
    """A PNG whose comment unpacks to 60 megabytes."""
    body = b"comment\0\0" + zlib.compress(bytes(60_000_000), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return png(1, 1, zlib.compress(bytes(4)), extra=chunk)


def many_frames() -> bytes:
    frames = [Image.new("P", (40, 40), number % 200) for number in range(500)]
    buffer = BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def tiff_with(**changes: object) -> bytes:
    """A TIFF whose directory names sizes and places that are not there."""
    entries = {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 273: 1 << 30, 277: 1, 278: 10, 279: 1 << 30} | {
        int(key.removeprefix("tag")): int(str(value)) for key, value in changes.items()
    }
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + struct.pack("<I", 0)


def tiff_loop() -> bytes:
    """A TIFF whose directory is its own successor."""
    found = bytearray(tiff_with())
    found[-4:] = struct.pack("<I", 8)
    return bytes(found)


def bmp(width: int, height: int, *, offset: int = 54, compression: int = 0) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, offset) + head


def gif(width: int, height: int, tail: bytes = b"") -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + tail


def webp(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def jpeg_with(marker: bytes, at: int = 2) -> bytes:
    found = picture("red", "JPEG", (64, 64))
    return found[:at] + marker + found[at:]


def jpeg_sized(width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    found = bytearray(picture("red", "JPEG", (64, 64)))
    at = found.index(b"\xff\xc0") + 5
    found[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(found)


def noisy(kind: str, side: int = 600) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\0",
    "text": lambda: b"I am no image at all",
    "zeros": lambda: bytes(100_000),
    "html": lambda: b"<html><script>alert(1)</script></html>",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "a script": lambda: b"#!/bin/sh\ntouch /tmp/hacked\n",
    "a zip": lambda: b"PK\x03\x04" + bytes(100),
    "an elf": lambda: b"\x7fELF" + bytes(1000),
    "a pickle": lambda: b"cos\nsystem\n(S'touch /tmp/hacked'\ntR.",
    "heic": lambda: b"\0\0\0\x18ftypheic" + bytes(100),
    "png: header only": lambda: picture()[:8],
    "png: half": lambda: noisy("PNG")[:40_000],
    "png: 30,000 x 30,000, packed": lambda: png(30_000, 30_000, zlib.compress(b"\0")),
    "png: 2^31 x 2^31": lambda: png(2**31 - 1, 2**31 - 1, b""),
    "png: no pixels wide": lambda: png(0, 10, b""),
    "png: 6,000 x 900 of nothing": lambda: bomb(6_000, 900),
    "png: a comment of 60 MB": text_bomb,
    "png: depth 77": lambda: png(4, 4, zlib.compress(bytes(100)), depth=77),
    "png: palette without colours": lambda: png(4, 4, zlib.compress(bytes(100)), kind=3),
    "png: half of its lines": lambda: png(100, 100, zlib.compress(bytes(301 * 50))),
    "png: damaged stream": lambda: png(100, 100, b"\x78\x9c" + bytes(range(256)) * 4),
    "jpeg: header only": lambda: picture("red", "JPEG")[:3],
    "jpeg: half": lambda: noisy("JPEG")[:30_000],
    "jpeg: says 60,000 x 60,000": lambda: jpeg_sized(60_000, 60_000),
    "jpeg: says no height": lambda: jpeg_sized(64, 0),
    "jpeg: no tables": lambda: b"\xff\xd8\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0" + bytes(100),
    "jpeg: endless markers": lambda: b"\xff\xd8" + b"\xff" * 1_000_000,
    "jpeg: a segment beyond the end": lambda: jpeg_with(b"\xff\xe1\xff\xff"),
    "jpeg: 12 bits": lambda: picture("red", "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "gif: header only": lambda: gif(10, 10)[:10],
    "gif: 65,535 x 65,535": lambda: gif(65535, 65535, b",\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0\0;"),
    "gif: no frame": lambda: gif(10, 10, b";"),
    "gif: a frame outside": lambda: gif(10, 10, b",\xf0\xff\xf0\xff\x0a\0\x0a\0\0\x02\x02\x44\x01\0;"),
    "gif: extensions without end": lambda: gif(10, 10, b"!\xf9\x04" * 100_000),
    "gif: code size 200": lambda: gif(10, 10, b",\0\0\0\0\x0a\0\x0a\0\0\xc8\x02\x44\x01\0;"),
    "webp: header only": lambda: webp(b""),
    "webp: 16,383 x 16,383": lambda: webp(b"VP8L" + struct.pack("<I", 10) + b"\x2f\xff\xff\xff\x0f" + bytes(5)),
    "webp: canvas of 2^24": lambda: webp(b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff" * 6),
    "webp: half": lambda: noisy("WEBP")[:20_000],
    "webp: no chunk": lambda: webp(b"JUNK" + struct.pack("<I", 1 << 30)),
    "bmp: header only": lambda: bmp(10, 10)[:20],
    "bmp: 2^31 wide": lambda: bmp(2**31 - 1, 2**31 - 1),
    "bmp: less than nothing": lambda: bmp(-5, 5),
    "bmp: pixels beyond the end": lambda: bmp(10, 10, offset=1 << 30),
    "bmp: run lengths in 24 bits": lambda: bmp(10, 10, compression=1) + bytes(100),
    "bmp: truncated": lambda: noisy("BMP")[:5000],
    "tiff: header only": lambda: b"II*\0",
    "tiff: a directory beyond the end": lambda: b"II*\0" + struct.pack("<I", 1 << 31),
    "tiff: a directory that is its own successor": tiff_loop,
    "tiff: strips beyond the end": tiff_with,
    "tiff: 2^31 wide": lambda: tiff_with(tag256=2**31, tag257=2**31),
    "tiff: unknown compression": lambda: tiff_with(tag259=60_000),
    "tiff: 4 billion channels": lambda: tiff_with(tag277=2**32 - 1),
    "tiff: half": lambda: noisy("TIFF")[:5000],
    "ico: many": lambda: b"\0\0\x01\0\xff\xff" + bytes(16) * 100,
    "avif: nothing in it": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(100),
    "jpeg 2000: says 2^31": lambda: b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">II", 2**31, 2**31) + bytes(60),
    "ppm: says 10^9": lambda: b"P6 1000000000 1000000000 255\n" + bytes(10),
    "ppm: endless number": lambda: b"P6 " + b"9" * 100_000,
}


@pytest.fixture(autouse=True)
def answers_as_before(server: Served) -> Iterator[None]:
    """After each attack the server still labels an image, has written no traceback, and holds no more memory than it may."""
    yield
    assert b'"label":"green"' in server.exchange(post("/predict", picture("green")))
    assert "Traceback" not in server.said
    assert server.memory() < MOST_MEMORY


@pytest.mark.parametrize("name", HOSTILE)
def test_an_image_that_is_none_gets_a_4xx_within_two_seconds(server: Served, name: str) -> None:
    body = HOSTILE[name]()
    began = time.monotonic()
    told = server.exchange(post("/predict", body, "application/octet-stream"))
    assert time.monotonic() - began < SECONDS
    assert 400 <= status(told) < 500, told[:300]
    assert b'{"error": "' in told
    assert not any(inside in told for inside in (b"Traceback", b".py", b"/tmp"))


@pytest.mark.parametrize("name", ["gif: 500 frames", "png: 2,000 x 2,000 of nothing", "one pixel", "a trailing megabyte"])
def test_an_odd_image_that_can_be_read_is_answered(server: Served, name: str) -> None:
    odd = {
        "gif: 500 frames": many_frames,
        "png: 2,000 x 2,000 of nothing": lambda: bomb(2000, 2000),
        "one pixel": lambda: picture("red", "PNG", (1, 1)),
        "a trailing megabyte": lambda: picture() + bytes(1 << 20),
    }
    assert status(server.exchange(post("/predict", odd[name]()))) == 200


def test_a_million_parts_are_refused_at_the_first_too_many(server: Served) -> None:
    part = b"--b\r\n\r\nx\r\n"
    body = part * (2_000_000 // len(part))
    began = time.monotonic()
    told = server.exchange(post("/predict", body, "multipart/form-data; boundary=b"))
    assert (status(told), time.monotonic() - began < SECONDS) == (413, True)
    assert b"more than 32 parts" in told


def test_a_part_with_a_header_without_end_is_refused(server: Served) -> None:
    body = b"--b\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\nz\r\n--b--"
    assert status(server.exchange(post("/predict", body, "multipart/form-data; boundary=b"))) == 400


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(server: Served) -> None:
    for headers in ({"content-length": str(3 << 20)}, {"content-length": "9" * 30}):
        with server.connect() as connection:
            connection.sendall(post("/predict", b"", headers=headers))
            assert status(answer(connection)) in (400, 413)


def test_a_body_without_a_length_is_cut_off_at_the_limit(server: Served) -> None:
    head = post("/predict", b"", headers={"content-length": None, "transfer-encoding": "chunked"})  # type: ignore[dict-item]
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    assert status(server.exchange(head + chunk * 40)) == 413


@pytest.mark.parametrize("sent", [0, 1, 50])
def test_half_a_body_whose_sender_waits_is_refused_within_two_seconds(server: Served, sent: int) -> None:
    began = time.monotonic()
    told = server.exchange(post("/predict", picture())[: -len(picture()) + sent])
    assert (status(told), time.monotonic() - began < SECONDS) == (408, True)


def test_a_body_that_comes_byte_by_byte_is_refused_within_two_seconds(server: Served) -> None:
    request = post("/predict", bytes(1000))
    with server.connect() as connection:
        connection.sendall(request[:-1000])
        began = time.monotonic()
        connection.settimeout(0.1)
        told = b""
        while not told and time.monotonic() - began < 5:
            connection.sendall(b"x")
            try:
                told = connection.recv(1000)
            except TimeoutError:
                continue
    assert (status(told), time.monotonic() - began < SECONDS) == (408, True)


def test_a_sender_that_goes_away_in_the_middle_leaves_nothing_behind(server: Served) -> None:
    for length in (1, 40, 120, 160):
        with server.connect() as connection:
            connection.sendall(post("/predict", picture())[:length])
    for _ in range(20):  # all of it was sent, and nobody waits for the answer
        with server.connect() as connection:
            connection.sendall(post("/predict", picture()))
    deadline = time.monotonic() + 5
    while b"sortal_inside_images 0.0" not in (told := server.exchange(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\0\r\n\r\n", 400), (b"GET / HTTP/9.9\r\n\r\n", 400), (b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n", 0),
        (b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000, 431),
    ],
)  # fmt: skip
def test_a_head_that_is_none_is_refused(server: Served, head: bytes, expected: int) -> None:
    began = time.monotonic()
    said = server.exchange(head)
    told = status(said)
    assert told == expected or (expected == 0 and told in (0, 400, 404))
    if told >= 400:
        headers, _, body = said.partition(b"\r\n\r\n")
        assert b"x-content-type-options: nosniff" in headers
        assert "error" in json.loads(body)
    assert time.monotonic() - began < SECONDS


def test_a_head_that_does_not_come_is_not_waited_for(server: Served) -> None:
    began = time.monotonic()
    assert status(server.exchange(b"POST /predict HTTP/1.1\r\nhost: loc")) == 408
    assert server.exchange(b"") == b""
    assert time.monotonic() - began < 5


def test_a_decoder_that_dies_costs_one_answer(server: Served) -> None:
    import os
    import signal

    from tests.serving.served import children

    before = children(server.process.pid)
    assert len(before) >= 2
    for child in before:
        os.kill(child, signal.SIGKILL)
    assert [status(server.exchange(post("/predict", picture()))) for _ in before] == [422] * len(before)
    assert status(server.exchange(post("/predict", picture()), seconds=60)) == 200
