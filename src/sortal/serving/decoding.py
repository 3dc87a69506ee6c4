"""Decoding in a few processes of our own, each of which is ended and replaced when it takes too long or dies."""

import asyncio
import contextlib
import json
import math
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sortal.preprocess import LARGEST_SIDE, Preprocess
from sortal.serving.decoder import ASKED, PIXELS, READY, TOLD, TOO_MANY_PIXELS, TOO_MUCH_MEMORY
from sortal.serving.limits import Limits, cores
from sortal.serving.refused import Refused, late

TICKS = os.sysconf("SC_CLK_TCK")
SECONDS_TO_START = 60.0
"""Until a new process has imported what it needs; a machine may be busy."""


class Decoder(asyncio.Protocol):
    """One process, which decodes one image at a time.

    Images and pixels lie in memory that both see, and only their lengths go through the socket: sending them took a sixth of
    the time that decoding took.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ours, theirs = socket.socketpair()
        size = max(limits.body, LARGEST_SIDE * LARGEST_SIDE * 3)  # pages that nobody touches take no room
        with theirs, tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else _unnamed() as file:
            os.ftruncate(file.fileno(), size)
            self.memory = mmap.mmap(file.fileno(), size)
            descriptors = theirs.fileno(), file.fileno()
            command = [sys.executable, "-m", "sortal.serving.decoder", *map(str, descriptors), str(limits.decode_bytes)]
            # Its idle threads would count against the memory that it may take.
            environment = {**_importable(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, pass_fds=descriptors, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        self.transport: asyncio.WriteTransport | None = None
        self.answer: asyncio.Future[bytes] | None = None
        self.wanted = len(READY)
        self.data = b""

    async def ready(self) -> None:
        """Wait until it can decode; raises `OSError` where it ended instead."""
        loop = asyncio.get_running_loop()
        self.answer = loop.create_future()
        async with asyncio.timeout(SECONDS_TO_START):
            self.transport, _ = await loop.create_unix_connection(lambda: self, sock=self.ours)
            await self.answer

    async def ask(self, about: bytes, data: bytes) -> tuple[int, bytes]:
        """What came of one image, and its pixels or the reason; raises `OSError` where the process is gone."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionError("the decoding process ended")
        self.answer, self.wanted, self.data = asyncio.get_running_loop().create_future(), TOLD.size, b""
        self.memory[: len(data)] = data
        self.transport.write(ASKED.pack(len(about), len(data)) + about)
        kind, length = TOLD.unpack(await self.answer)
        if length > len(self.memory):
            raise ConnectionError("the decoding process gave no answer that makes sense")
        return kind, self.memory[:length]

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self.wanted and self.answer is not None and not self.answer.done():
            self.answer.set_result(self.data[: self.wanted])

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("the decoding process ended"))

    def worked(self) -> float:
        """Seconds of a processor that it has had; where the system does not tell, seconds on the clock."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return time.monotonic()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self) -> None:
        if self.transport is not None:
            self.transport.close()
        else:
            self.ours.close()
        self.memory.close()
        self.process.kill()
        self.process.wait()


class Watch:
    """Ends a process that has worked for too long on one image, or has been silent for far too long.

    Its own time counts, since on a busy machine a good image takes long as well.
    """

    def __init__(self, decoder: Decoder, limits: Limits) -> None:
        self.decoder, self.limits = decoder, limits
        self.ended = False
        self._worked, self._began = decoder.worked(), time.monotonic()
        self.timer = asyncio.get_running_loop().call_later(limits.decode_seconds, self._look)

    def _look(self) -> None:
        left = self.limits.decode_seconds - (self.decoder.worked() - self._worked)
        if left > 0 and time.monotonic() - self._began < self.limits.deadline:
            self.timer = asyncio.get_running_loop().call_later(max(left, 0.05), self._look)
            return
        self.ended = True
        self.decoder.process.kill()  # whoever waits for its answer finds the connection closed


class Decoders:
    """A bounded pool of decoding processes; first come, first served."""

    def __init__(self, limits: Limits, *, processes: int = 0) -> None:
        self.limits = limits
        # Two at least: an image that takes its full time must not stop all others.
        self.processes = processes or max(2, cores())
        self.busy = 0
        self.replaced = 0
        """Processes that took too long or died, and were replaced."""
        self._all: set[Decoder] = set()
        self._idle: deque[Decoder] = deque()
        self._waiting: deque[asyncio.Future[Decoder]] = deque()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    async def start(self) -> None:
        decoders = [self._new() for _ in range(self.processes)]
        await asyncio.gather(*(decoder.ready() for decoder in decoders))
        self._idle.extend(decoders)

    async def close(self) -> None:
        """Wait for what is being decoded, then end all processes."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.decode_seconds)
        for task in tuple(self._tasks):
            task.cancel()
        for decoder in tuple(self._all):
            self._end(decoder)

    def _new(self) -> Decoder:
        decoder = Decoder(self.limits)
        self._all.add(decoder)
        return decoder

    def _end(self, decoder: Decoder) -> None:
        self._all.discard(decoder)
        decoder.end()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def decode(self, data: bytes, preprocess: Preprocess, deadline: float = math.inf) -> NDArray[np.uint8]:
        """The pixels that the network takes, uint8 of shape (S, S, C); raises `Refused` with the reason.

        It is refused undecoded where the deadline (`time.monotonic`) passed before a decoder was free.
        """
        decoder = await self._free()
        if time.monotonic() > deadline:
            self._give_back(decoder)
            raise late()
        # The work goes on when whoever asked has gone, since a process cannot be handed on in the middle of an answer.
        task = asyncio.ensure_future(self._bounded(decoder, _about(preprocess, self.limits.pixels), data))
        self._keep(task)
        kind, payload = await asyncio.shield(task)
        if kind == PIXELS and len(payload) == preprocess.size**2 * preprocess.channels:
            return np.frombuffer(payload, np.uint8).reshape(preprocess.size, preprocess.size, preprocess.channels)
        status = 413 if kind in (TOO_MANY_PIXELS, TOO_MUCH_MEMORY) else 422
        raise Refused(status, payload.decode("utf-8", "replace"), hint="send another image")

    async def _bounded(self, decoder: Decoder, about: bytes, data: bytes) -> tuple[int, bytes]:
        """What came of one image; raises `Refused` where the process took too long, and was ended, or died."""
        self.busy += 1
        watch = Watch(decoder, self.limits)
        try:
            answer = await decoder.ask(about, data)
        except OSError as error:
            self._replace(decoder)
            reason = f"took longer than {self.limits.decode_seconds:g} s" if watch.ended else "broke its decoder"
            raise Refused(422, f"the image {reason}", hint="send another image") from error
        finally:
            self.busy -= 1
            watch.timer.cancel()
        self._give_back(decoder)
        return answer

    async def _free(self) -> Decoder:
        if self._idle:
            return self._idle.popleft()
        future: asyncio.Future[Decoder] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give_back(future.result())
            raise

    def _give_back(self, decoder: Decoder) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(decoder)
                return
        self._idle.append(decoder)

    def _replace(self, decoder: Decoder) -> None:
        self.replaced += 1
        self._end(decoder)
        if not self._closed:
            self._keep(asyncio.ensure_future(self._another()))

    async def _another(self) -> None:
        while not self._closed:
            decoder = self._new()
            try:
                await decoder.ready()
            except (OSError, TimeoutError):
                self._end(decoder)
                await asyncio.sleep(1)
                continue
            self._give_back(decoder)
            return

    def _keep(self, task: "asyncio.Task[object] | asyncio.Future[object] | asyncio.Task[tuple[int, bytes]]") -> None:
        self._tasks.add(task)  # type: ignore[arg-type]

        def done(finished: "asyncio.Task[object]") -> None:
            self._tasks.discard(finished)
            with contextlib.suppress(asyncio.CancelledError):
                finished.exception()  # told to whoever asked, if anyone still waits

        task.add_done_callback(done)  # type: ignore[arg-type]


def _unnamed() -> BinaryIO:
    """A file that exists in memory alone."""
    return os.fdopen(os.memfd_create("sortal-decoder"), "r+b")


@lru_cache(maxsize=64)
def _about(preprocess: Preprocess, pixels: int) -> bytes:
    values = preprocess.to_dict()
    return json.dumps({**values, "max_pixels": min(pixels, preprocess.max_pixels)}).encode()


def _importable() -> dict[str, str]:
    """The environment, with this package where this process found it."""
    path = os.pathsep.join(dict.fromkeys(entry for entry in sys.path if entry))
    return {**os.environ, "PYTHONPATH": path}
