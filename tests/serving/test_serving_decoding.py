"""Decoding in processes of our own: the pixels of the one preprocessing, and an end for whatever takes too long."""

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal.preprocess import FORMATS, Preprocess, network_pixels, stored_pixels
from sortal.serving.decoding import Decoders
from sortal.serving.limits import Limits
from sortal.serving.refused import Refused
from tests.serving.served import picture

PREPROCESS = Preprocess(size=20, resize=24)


def run(work: Callable[[Decoders], Awaitable[None]], *, limits: Limits | None = None, processes: int = 1) -> None:
    async def main() -> None:
        decoders = Decoders(limits or Limits(), processes=processes)
        await decoders.start()
        try:
            await work(decoders)
        finally:
            await decoders.close()

    asyncio.run(main())


def photograph(kind: str = "JPEG", side: int = 300) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_every_format_gives_the_pixels_that_prediction_gets() -> None:
    async def work(decoders: Decoders) -> None:
        for kind in FORMATS:
            try:
                data = photograph(kind)
            except (OSError, KeyError):
                continue  # a Pillow that cannot write it
            expected = network_pixels(stored_pixels(data, PREPROCESS)[None], PREPROCESS)[0]
            np.testing.assert_array_equal(await decoders.decode(data, PREPROCESS), expected, err_msg=kind)

    run(work)


def test_each_image_gets_its_own_answer_and_each_model_its_own_preprocessing() -> None:
    async def work(decoders: Decoders) -> None:
        other = dataclasses.replace(PREPROCESS, size=5, resize=6, channels=1, mean=(0.5,), std=(0.5,))
        asked = [(picture(colour), each) for colour in ("red", "green", "blue") * 4 for each in (PREPROCESS, other)]
        told = await asyncio.gather(*(decoders.decode(*each) for each in asked))
        for (data, each), pixels in zip(asked, told, strict=True):
            np.testing.assert_array_equal(pixels, network_pixels(stored_pixels(data, each)[None], each)[0])

    run(work, processes=2)


def test_a_limit_of_pixels_holds_whatever_the_bundle_allows() -> None:
    async def work(decoders: Decoders) -> None:
        with pytest.raises(Refused) as caught:
            await decoders.decode(photograph("PNG"), PREPROCESS)
        assert (caught.value.status, "limit of 1,000" in caught.value.message) == (413, True)

    run(work, limits=Limits(pixels=1000))


@pytest.mark.slow
def test_an_image_that_takes_more_memory_than_is_allowed_is_refused_and_the_process_lives_on() -> None:
    async def work(decoders: Decoders) -> None:
        with pytest.raises(Refused) as caught:
            await decoders.decode(picture("red", "PNG", (6000, 6000)), PREPROCESS)
        assert caught.value.status == 413
        assert (await decoders.decode(picture(), PREPROCESS)).shape == (20, 20, 3)
        assert decoders.replaced == 0

    run(work, limits=Limits(decode_bytes=32 << 20))


@pytest.mark.slow
def test_what_takes_too_long_is_ended_and_replaced() -> None:
    async def work(decoders: Decoders) -> None:
        began = time.monotonic()
        with pytest.raises(Refused) as caught:
            await decoders.decode(photograph("PNG", 3000), PREPROCESS)
        assert (caught.value.status, "took longer" in caught.value.message) == (422, True)
        assert time.monotonic() - began < 10
        assert (await decoders.decode(picture(), PREPROCESS)).shape == (20, 20, 3)
        assert decoders.replaced == 1

    run(work, limits=Limits(decode_seconds=0.05))


def test_a_process_that_stands_still_is_ended_at_the_deadline() -> None:
    async def work(decoders: Decoders) -> None:
        os.kill(decoders._idle[0].process.pid, signal.SIGSTOP)
        with pytest.raises(Refused, match="took longer"):
            await decoders.decode(picture(), PREPROCESS)

    run(work, limits=Limits(decode_seconds=0.05, deadline=0.3))


def test_a_process_that_dies_costs_one_image() -> None:
    async def work(decoders: Decoders) -> None:
        os.kill(decoders._idle[0].process.pid, signal.SIGKILL)
        with pytest.raises(Refused, match="broke its decoder"):
            await decoders.decode(picture(), PREPROCESS)
        assert (await decoders.decode(picture(), PREPROCESS)).shape == (20, 20, 3)

    run(work)


@pytest.mark.slow
def test_whoever_goes_away_takes_no_process_along() -> None:
    async def work(decoders: Decoders) -> None:
        for _ in range(5):
            task = asyncio.ensure_future(decoders.decode(photograph("PNG", 800), PREPROCESS))
            await asyncio.sleep(0.005)
            task.cancel()
        assert (await decoders.decode(picture(), PREPROCESS)).shape == (20, 20, 3)
        assert (decoders.replaced, len(decoders._idle), decoders.busy) == (0, 1, 0)

    run(work)


def test_a_decoder_can_open_nothing_and_write_nothing() -> None:
    async def work(decoders: Decoders) -> None:
        pid = decoders._idle[0].process.pid
        limits = Path(f"/proc/{pid}/limits").read_text()
        for name in ("Max open files", "Max file size", "Max core file size"):
            line = next(line for line in limits.splitlines() if line.startswith(name))
            assert line.split()[-3:-1] == ["0", "0"] or line.split()[-2:] == ["0", "0"], line

    run(work)
