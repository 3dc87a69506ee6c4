"""Work in threads, results in order, and never more than a few of them waiting."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sortal.events import Observer, Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

TELL_EVERY = 0.1  # seconds between two events of one work: a bar that is redrawn more often only costs time


def default_workers() -> int:
    """One thread a core that this process may use, and one more that waits for the disk meanwhile."""
    available = getattr(os, "sched_getaffinity", None)
    return (len(available(0)) if available else os.cpu_count() or 1) + 1


def ordered(function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """`function` of each item, computed by threads, given back in the order of the items.

    At most two items a worker are under way or waiting to be taken, so memory does not grow with their number. An error of
    the function comes up where its result would have; what was not begun by then is dropped.
    """
    workers = workers or default_workers()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="sortal") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def told(items: Iterable[Item], *, what: str, total: int, observe: Observer) -> Iterator[Item]:
    """The items as they come, with `Progress` events: one at the start, some on the way, one at the end."""
    observe(Progress(what, 0, total))
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if done == total or time.monotonic() - last >= TELL_EVERY:
            last = time.monotonic()
            observe(Progress(what, done, total))
