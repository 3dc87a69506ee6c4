"""Reading ahead: the next batch's pixels are fetched while the network computes, and how long it had to wait is measured."""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sortal.data.pixels import StoredPixels
from sortal.data.samples import Pixels

Rows = NDArray[np.int64]


class ReadAhead:
    """Pixels by row, as those that it is made for; rows that were announced are read by a thread of their own.

    What is read for some rows does not depend on when, so reading ahead changes no byte of a training.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._waiting: deque[tuple[Rows, Future[NDArray[np.uint8]]]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._began = time.monotonic()
        self.waited = 0.0
        """Seconds since the epoch began in which somebody waited for pixels."""

    def expect(self, rows_B: Rows) -> None:
        """These rows will be read soon; what is in memory already is not read ahead."""
        if isinstance(self._pixels, StoredPixels) and self._pixels.where == "memory":
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="sortal-ahead")
        self._waiting.append((rows_B, self._pool.submit(self._pixels.read, rows_B)))

    def read(self, rows_B: Rows) -> NDArray[np.uint8]:
        """Pixels of shape (B, R, R, C)."""
        began = time.monotonic()
        try:
            place = next((n for n, (rows, _) in enumerate(self._waiting) if np.array_equal(rows, rows_B)), None)
            if place is None:  # nobody announced them: the first batch, or a step that is taken anew
                return self._pixels.read(rows_B)
            for _ in range(place):
                self._waiting.popleft()[1].cancel()
            return self._waiting.popleft()[1].result()
        finally:
            self.waited += time.monotonic() - began

    def epoch_begins(self) -> None:
        """Let the pixels choose anew where they are read from, by what the epoch before has shown."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        now = time.monotonic()
        idle = self.waited / max(now - self._began, 1e-9)
        if self.waited and isinstance(self._pixels, StoredPixels):
            self._pixels.settle(idle)
        self._began, self.waited = time.monotonic(), 0.0
