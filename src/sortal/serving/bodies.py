"""Bodies of requests: received within limits of size and time, held in memory alone, and taken apart."""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sortal.serving.limits import Limits
from sortal.serving.refused import Refused, shed

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
LONGEST_BOUNDARY = 200
"""RFC 2046 allows 70."""
LONGEST_NAME = 200
"""Of an image's name in an answer."""


class Room:
    """The bytes that all bodies together may take."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    @contextmanager
    def held(self) -> "Iterator[Callable[[int], None]]":
        """Gives a function that takes so many bytes more, and raises `Refused` where none are left; at the end all go back."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self.taken + count > self.size:
                raise shed("memory", "too many large requests at once", 1.0)
            self.taken += count
            mine += count

        try:
            yield take
        finally:
            self.taken -= mine


async def received(receive: Receive, headers: Mapping[str, str], limits: Limits, take: Callable[[int], None]) -> bytes:
    """The whole body; raises `Refused` for one that is too large, comes too slowly, is packed, or ends too early."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "the body is compressed", hint="send it without a content-encoding")
    announced = headers.get("content-length")
    if announced is not None and announced.isdecimal() and int(announced) > limits.body:
        raise _too_large(limits)
    parts: list[bytes] = []
    size, loop = 0, asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(None) as patience:
            more = True
            while more:
                steady = limits.stall_seconds + size / limits.bytes_per_second
                patience.reschedule(began + min(steady, limits.body_seconds))
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the connection was closed before the body was whole")
                part = message.get("body", b"")
                size += len(part)
                if size > limits.body:
                    raise _too_large(limits)
                take(len(part))  # as it comes: what is only announced takes no memory
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        enough = f"send at least {limits.bytes_per_second // 1024} KiB a second, all within {limits.body_seconds:g} seconds"
        raise Refused(408, "the body comes too slowly", hint=enough) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the body is larger than {limits.body:,} bytes", hint="send fewer or smaller images")


def images(body: bytes, content_type: str, limits: Limits) -> list[tuple[str, bytes]]:
    """The images of a body with their names, by its type: multipart, JSON with base64, or the bytes of one image."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        found = _multipart(body, options.get(b"boundary", b""), limits)
    elif kind == b"application/json":
        found = _from_json(body, limits)
    elif kind.startswith(b"image/") or kind == b"application/octet-stream":
        found = [("image", body)]
    else:
        raise Refused(
            415,
            "the body's type is none that holds images",
            hint="send multipart/form-data, application/json, image/* or application/octet-stream",
        )
    if not found:
        raise Refused(400, "the request holds no image", hint="send at least one")
    if len(found) > limits.images:
        raise _too_many(limits.images)
    return found


def _too_many(most: int) -> Refused:
    return Refused(400, f"more than {most} images in one request", hint="divide them among several requests")


def _multipart(body: bytes, boundary: bytes, limits: Limits) -> list[tuple[str, bytes]]:
    """Every part of it is an image, whatever the field is called; its file name becomes its name in the answer."""
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise Refused(400, "the multipart body names no boundary", hint="let your HTTP library write the content-type")
    found: list[tuple[str, bytes]] = []
    name, header, value, data = "", bytearray(), bytearray(), bytearray()
    ended = False

    def begin() -> None:
        nonlocal name, data
        if len(found) >= limits.parts:
            raise Refused(413, f"more than {limits.parts} parts", hint="divide them among several requests")
        name, data = "", bytearray()

    def header_ends() -> None:
        nonlocal name
        if bytes(header).lower() == b"content-disposition":
            options = parse_options_header(bytes(value))[1]
            name = options.get(b"filename", options.get(b"name", b"")).decode("utf-8", "replace")[:LONGEST_NAME]
        header.clear()
        value.clear()

    def part_ends() -> None:
        found.append((name or "image", bytes(data)))

    def all_ends() -> None:
        nonlocal ended
        ended = True

    callbacks: Any = {
        "on_part_begin": begin,
        "on_header_field": lambda text, start, end: header.extend(text[start:end]),
        "on_header_value": lambda text, start, end: value.extend(text[start:end]),
        "on_header_end": header_ends,
        "on_part_data": lambda text, start, end: data.extend(memoryview(text)[start:end]),
        "on_part_end": part_ends,
        "on_end": all_ends,
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, f"the multipart body is damaged: {error}"[:300]) from error
    if not ended:
        raise Refused(400, "the multipart body ends before its last boundary")
    return found


def _from_json(body: bytes, limits: Limits) -> list[tuple[str, bytes]]:
    values = parsed(body)
    known = {"image", "images"} & set(values) if isinstance(values, dict) else set()
    if not isinstance(values, dict) or len(values) != 1 or len(known) != 1:
        raise Refused(400, "expected one of the keys image and images", hint='{"image": "<base64>"}')
    texts = [values["image"]] if "image" in values else values["images"]
    if not isinstance(texts, list):
        raise Refused(400, "images is no list", hint='{"images": ["<base64>", "<base64>"]}')
    if len(texts) > limits.images:
        raise _too_many(limits.images)
    return [(f"image {number}" if len(texts) > 1 else "image", from_base64(text)) for number, text in enumerate(texts, 1)]


def parsed(body: bytes | memoryview) -> Any:
    """A body's JSON; raises `Refused` for what is none, or too deep."""
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(400, f"the body is no JSON: {reason}"[:300]) from error


def from_base64(text: Any) -> bytes:
    """An image's bytes from base64, also with `data:image/...;base64,` before it."""
    if not isinstance(text, str):
        raise Refused(400, "an image is no string", hint="send it as base64")
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()) if any(blank in text for blank in "\n\r ") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"an image is no base64: {error}"[:200]) from error
