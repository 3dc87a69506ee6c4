"""A load generator of its own process: JPEGs as multipart forms over kept connections, closed loop or open loop.

Closed: so many clients, each of which asks again when it has its answer. Open: so many requests a second, whatever is
answered, over connections that are opened as needed. Prints one JSON object. It speaks HTTP by hand, since a client library
would take more of its core than there is.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BOUNDARY = b"b0undary-of-the-load-generator"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LAST = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
CLOSED = 0
"""In the place of a status: there was no connection to be had, or no room for one."""
CUT = 1
"""In the place of a status: a request was sent, and the connection was closed without an answer."""


def request(image: bytes, field: str, port: int) -> bytes:
    """The bytes of one request."""
    part = b'--%b\r\ncontent-disposition: form-data; name="%b"; filename="x.jpg"\r\ncontent-type: image/jpeg\r\n\r\n'
    body = part % (BOUNDARY, field.encode()) + image + b"\r\n--" + BOUNDARY + b"--\r\n"
    head = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: multipart/form-data; boundary=%b\r\n"
    return head % (port, BOUNDARY) + b"content-length: %d\r\n\r\n" % len(body) + body


class Connection(asyncio.Protocol):
    """One kept connection with one request under way at most."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self.data = b""
        self.wanted = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.wanted and (end := self.data.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.data[:end])
            self.wanted = end + 4 + (int(length[1]) if length else 0)
        if self.wanted and len(self.data) >= self.wanted and self.answer and not self.answer.done():
            if LAST.search(self.data[: self.data.find(b"\r\n\r\n") + 2]) and self.transport:
                self.transport.close()  # the server said that it takes no more on this connection
            self.answer.set_result(int(self.data[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.answer and not self.answer.done():
            self.answer.set_result(CUT)

    async def ask(self, text: bytes) -> int:
        if self.transport is None or self.transport.is_closing():
            return CLOSED
        self.data, self.wanted, self.answer = b"", 0, asyncio.get_running_loop().create_future()
        self.transport.write(text)
        return await self.answer


class Load:
    """What is sent, and what came back."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.port, self.requests = port, requests
        self.number = 0
        self.told: list[tuple[int, float, float]] = []
        """Status, moment of the answer, seconds that it took."""
        self.idle: list[Connection] = []

    def next(self) -> bytes:
        self.number += 1
        return self.requests[self.number % len(self.requests)]

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection

    async def one(self, connection: Connection) -> int:
        began = time.perf_counter()
        status = await connection.ask(self.next())
        now = time.perf_counter()
        if status != CLOSED:  # an idle connection that the server had closed: nothing was sent
            self.told.append((status, now, now - began))
        return status

    async def closed(self, clients: int, seconds: float, requests: int) -> None:
        """So many clients for so long, or until so many requests are sent."""
        until = time.perf_counter() + seconds

        async def client() -> None:
            connection = None
            while time.perf_counter() < until and (not requests or self.number < requests):
                try:
                    if connection is None or connection.transport is None:
                        connection = await self.connect()
                except OSError:
                    self.told.append((CLOSED, time.perf_counter(), 0.0))
                    await asyncio.sleep(0.2)
                    continue
                await self.one(connection)

        await asyncio.gather(*(client() for _ in range(clients)))

    async def open(self, rate: float, seconds: float, most: int) -> None:
        """So many a second for so long. A request for which no connection of `most` is free is lost, and counted as such."""
        began, sent, open_ = time.perf_counter(), 0, 0
        tasks: set[asyncio.Task[None]] = set()

        async def ask() -> None:
            nonlocal open_
            try:
                connection = self.idle.pop() if self.idle else await self.connect()
                if await self.one(connection) not in (CLOSED, CUT):
                    self.idle.append(connection)
            except OSError:
                self.told.append((CLOSED, time.perf_counter(), 0.0))
            finally:
                open_ -= 1

        while (now := time.perf_counter() - began) < seconds:
            for _ in range(int(now * rate) - sent):
                sent += 1
                if open_ >= most:
                    self.told.append((CLOSED, time.perf_counter(), 0.0))
                    continue
                open_ += 1
                task = asyncio.ensure_future(ask())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(0.002)
        if tasks:
            await asyncio.wait(tasks, timeout=30)


def summary(told: Sequence[tuple[int, float, float]], warm: float) -> dict[str, Any]:
    """Requests a second and the quantiles of those that were answered with 200, after the first `warm` seconds."""
    if not told:
        return {"answered": 0}
    first = min(moment - took for _, moment, took in told) + warm
    counted = [each for each in told if each[1] >= first]
    good = sorted(took for status, _, took in counted if status == 200)
    refused = sorted(took for status, _, took in counted if status == 503)
    sent = sum(status != CLOSED for status, _, _ in counted)
    span = max((moment for _, moment, _ in counted), default=first) - first
    return {
        "answered": len(good),
        "sent": sent,
        "sent_per_second": round(sent / span, 2) if span > 0 else 0.0,
        "cut": sum(status == CUT for status, _, _ in counted),
        "seconds": round(span, 3),
        "per_second": round(len(good) / span, 2) if span > 0 else 0.0,
        **{f"p{share}": round(quantile(good, share / 100), 4) for share in (50, 95, 99) if good},
        **({"refused_p99": round(quantile(refused, 0.99), 4)} if refused else {}),
        "statuses": {str(status): count for status, count in sorted(Counter(status for status, _, _ in counted).items())},
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of sorted values that this share of them does not exceed."""
    return values[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder, walked")
    parser.add_argument("--field", default="image")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--requests", type=int, default=0, help="at most so many, closed loop")
    parser.add_argument("--rate", type=float, default=0.0, help="open loop: so many a second")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds at the beginning that do not count")
    options = parser.parse_args(words)
    images = [path.read_bytes() for path in sorted(options.images.rglob("*.jpg"))]
    if not images:
        parser.error(f"{options.images} holds no JPEG")
    load = Load(options.port, [request(image, options.field, options.port) for image in images])
    if options.rate:
        asyncio.run(load.open(options.rate, options.seconds, options.clients))
    else:
        asyncio.run(load.closed(options.clients, options.seconds, options.requests))
    print(json.dumps(summary(load.told, options.warm)))


if __name__ == "__main__":
    main(sys.argv[1:])
