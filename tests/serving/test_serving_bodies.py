"""Bodies are received within limits of time and memory, whatever their senders do."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sortal.serving.bodies import Room, received
from sortal.serving.limits import Limits
from sortal.serving.refused import Refused


class Sender:
    """Sends parts of a size, one every so many seconds."""

    def __init__(self, parts: int, size: int, seconds: float) -> None:
        self.left, self.size, self.seconds = parts, size, seconds

    async def __call__(self) -> Mapping[str, Any]:
        await asyncio.sleep(self.seconds)
        self.left -= 1
        return {"type": "http.request", "body": bytes(self.size), "more_body": self.left > 0}


def test_a_body_that_comes_slowly_but_steadily_is_not_waited_for_for_ever() -> None:
    limits = replace(Limits(), stall_seconds=0.2, bytes_per_second=100, body_seconds=0.5)
    began = time.monotonic()
    with Room(limits.bodies).held() as take, pytest.raises(Refused) as caught:
        asyncio.run(received(Sender(1000, 1000, 0.01), {}, limits, take))
    assert caught.value.status == 408
    assert "within 0.5 seconds" in str(caught.value.hint)
    assert time.monotonic() - began < 3


def test_what_is_only_announced_takes_no_memory() -> None:
    limits, room = replace(Limits(), stall_seconds=0.1), Room(100)
    with room.held() as take, pytest.raises(Refused) as caught:
        asyncio.run(received(Sender(2, 40, 1.0), {"content-length": "1000000"}, limits, take))
    assert caught.value.status == 408
    with room.held() as take, pytest.raises(Refused) as caught:
        asyncio.run(received(Sender(4, 40, 0.0), {"content-length": "160"}, limits, take))
    assert (caught.value.status, caught.value.reason) == (503, "memory")
    assert room.taken == 0
