"""Random access to what can only be read forwards: a compressed tar, or the rows of a Parquet file."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from sortal.errors import UnreadableImage

KEPT_BYTES = 64 << 20


class Forwards:
    """Random access to a stream that can only be read forwards, as a compressed tar is.

    Reading on from where the stream stands costs one step a member. What is passed on the way is kept, up to `KEPT_BYTES`, for
    threads that are a little behind. A read further back starts the stream again: slow, and always right.
    """

    def __init__(self, start: Callable[[int], Iterator[tuple[int, bytes]]], first: Callable[[int], int]) -> None:
        """`start(n)` streams (number, bytes) from member n on; `first(n)` is the last place up to n where it can start."""
        self._start = start
        self._first = first
        self._lock = threading.Lock()
        self._stream: Iterator[tuple[int, bytes]] | None = None
        self._next = 0  # no member before this number is still to come
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self.kept_bytes = 0
        """Bytes of members that are held now."""

    def read(self, number: int) -> bytes:
        with self._lock:
            if number in self._kept:
                return self._kept[number]
            if self._stream is None or number < self._next or self._first(number) > self._next:
                self._next = self._first(number)
                self._stream = self._start(self._next)
            try:
                for found, data in self._stream:
                    self._next = found + 1
                    self._keep(found, data)
                    if found == number:
                        return data
            except BaseException:
                self._stream = None  # a stream that failed gives nothing more; the next reader starts another
                raise
            self._stream = None
            raise UnreadableImage("it is no longer there")

    def close(self) -> None:
        with self._lock:
            self._stream = None
            self._kept.clear()
            self.kept_bytes = 0

    def _keep(self, number: int, data: bytes) -> None:
        self.kept_bytes += len(data) - len(self._kept.pop(number, b""))
        self._kept[number] = data
        while self.kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self.kept_bytes -= len(self._kept.popitem(last=False)[1])
