"""Batches without waiting: whoever is free takes as many images as have come meanwhile, in one of a few fixed sizes."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sortal.serving.refused import late

BUCKETS = (1, 2, 4, 8, 16)
"""The only sizes of a batch. A runtime's memory grows with every new one, and no batch is filled up with blanks: of five
images four go together and one goes in the next batch."""
GAIN = 0.05
"""By how much a larger batch has to be faster for each image to be worth the longer wait."""
LONGEST_BATCH = 0.5
"""Seconds; a batch that takes longer makes whoever comes next wait for too long."""
TRY_EVERY = 32
"""Every so-manieth batch may be of the next larger size, so that the cap can rise again after a busy time."""
NEWEST = 0.1
"""The weight of the newest time in the running mean."""

Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Pixels (N, S, S, C) to rows (N, R): the probabilities and, where the graph tells it, the novelty in a last column."""


@dataclass(slots=True)
class Waiting:
    """One image before the network."""

    pixels_SSC: NDArray[np.uint8]
    deadline: float
    answer: "asyncio.Future[NDArray[np.float32]]"
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Pace:
    """How long batches of each size take, as a running mean, and the largest that is worth it."""

    seconds: dict[int, float] = field(default_factory=dict)

    def took(self, size: int, seconds: float) -> None:
        before = self.seconds.get(size, seconds)
        self.seconds[size] = before + NEWEST * (seconds - before)

    @property
    def cap(self) -> int:
        """The smallest size that is nearly as fast for each image as the fastest, among those that are over soon."""
        fit = {size: took / size for size, took in self.seconds.items() if size == 1 or took <= LONGEST_BATCH}
        if not fit:
            return 1
        return min(size for size, each in fit.items() if each <= min(fit.values()) * (1 + GAIN))

    @property
    def next(self) -> int:
        """The size after the cap, or the cap where that would take too long: whether it is worth it shows when it is tried."""
        larger = next((size for size in BUCKETS if size > self.cap), self.cap)
        return larger if larger * self.each <= LONGEST_BATCH else self.cap

    @property
    def each(self) -> float:
        """Seconds for an image in batches of the cap's size."""
        return self.seconds.get(self.cap, 0.0) / self.cap


class Lanes:
    """The threads in which networks run, one a core; they serve the queues of all models in turn."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.free = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="network")
        self.queues: deque[Queue] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def dispatch(self) -> None:
        """Start batches as long as a lane is free and an image waits."""
        while self.free and (queue := self._next()):
            batch = queue.take()
            if batch:
                self.free -= 1
                task = asyncio.ensure_future(self._run(queue, batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> "Queue | None":
        for _ in range(len(self.queues)):
            queue = self.queues.popleft()
            if not (queue.closed and not queue.waiting):
                self.queues.append(queue)
            if queue.waiting:
                return queue
        return None

    async def _run(self, queue: "Queue", batch: list[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        try:
            rows_NR, seconds = await loop.run_in_executor(self.pool, _timed, queue.network, batch)
        except Exception as error:  # whatever a runtime raises belongs to these images and to no others
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
        else:
            queue.pace.took(len(batch), seconds)
            queue.observe(len(batch), seconds)
            for each, row_R in zip(batch, rows_NR, strict=True):
                if not each.answer.done():
                    each.answer.set_result(row_R)
        finally:
            self.free += 1
            self.dispatch()


class Queue:
    """The images that wait for one model."""

    def __init__(
        self, network: Network, lanes: Lanes, pace: Pace, observe: Callable[[int, float], None] = lambda size, seconds: None
    ) -> None:
        self.network, self.lanes, self.pace, self.observe = network, lanes, pace, observe
        self.waiting: deque[Waiting] = deque()
        self.batches = 0
        self.closed = False
        """No model's any more; what waits is still answered."""
        lanes.queues.append(self)

    async def row(self, pixels_SSC: NDArray[np.uint8], deadline: float) -> NDArray[np.float32]:
        """The network's answer for one image; raises `Refused` where the deadline (`time.monotonic`) passed before its turn."""
        waiting = Waiting(pixels_SSC, deadline, asyncio.get_running_loop().create_future())
        self.waiting.append(waiting)
        if self not in self.lanes.queues:  # another model took its place, and it was left out while nothing waited
            self.lanes.queues.append(self)
        self.lanes.dispatch()
        return await waiting.answer

    def take(self) -> list[Waiting]:
        """The next batch: the longest-waiting images that are still wanted, in one of the fixed sizes."""
        self._drop(time.monotonic())
        self.batches += 1
        largest = self.pace.cap if self.batches % TRY_EVERY else self.pace.next
        size = max((bucket for bucket in BUCKETS if bucket <= min(len(self.waiting), largest)), default=0)
        return [self.waiting.popleft() for _ in range(size)]

    def _drop(self, now: float) -> None:
        """Take out those that nobody waits for any more, and tell those whose time is over."""
        kept: deque[Waiting] = deque()
        for each in self.waiting:
            if each.answer.done():
                continue
            if now > each.deadline:
                each.answer.set_exception(late())
            else:
                kept.append(each)
        self.waiting = kept


def _timed(network: Network, batch: list[Waiting]) -> tuple[NDArray[np.float32], float]:
    images_NSSC = np.stack([each.pixels_SSC for each in batch])
    began = time.perf_counter()
    return network(images_NSSC), time.perf_counter() - began
