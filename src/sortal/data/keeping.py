"""Keeping: stored pixels are put away as images come by, so that a scan's decoding serves the training after it."""

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sortal.data.pixels import open_pixel_store
from sortal.data.store import SEGMENT_BYTES, Cache
from sortal.preprocess import Preprocess


class PixelKeeper:
    """Puts pixels into the store that `StoredPixels` reads, a segment at a time; use it in a `with`.

    Where an error ends the `with`, what was not written yet is left out.
    """

    def __init__(self, preprocess: Preprocess, cache: Cache) -> None:
        self.preprocess = preprocess
        self._store = open_pixel_store(preprocess, cache)
        # Asked from many threads, so it stays as it was at the start; what is added since stands in the sets below.
        self._before = open_pixel_store(preprocess, cache)
        self._waiting: dict[str, NDArray[np.uint8]] = {}
        self._written: set[str] = set()

    @classmethod
    def with_room(cls, preprocess: Preprocess, cache: Cache, images: int) -> "PixelKeeper | None":
        """One for so many images, or None where the stores may not take them all."""
        keeper = cls(preprocess, cache)
        if cache.make_room(images * keeper._store.row_bytes):
            return keeper
        keeper.close()
        return None

    def __enter__(self) -> "PixelKeeper":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the store; what waits is not written."""
        self._store.close()
        self._before.close()

    def wants(self, content: str) -> bool:
        """Whether an image's pixels are neither stored nor waiting. From any thread."""
        return content not in self._waiting and content not in self._written and self._before.locate([content])[0] < 0

    def put(self, content: str, pixels_RRC: NDArray[np.uint8]) -> None:
        """Keep an image's pixels; a second time for the same content changes nothing. Raises `MachineFailed` on a full disk."""
        if content in self._written:
            return
        self._waiting[content] = pixels_RRC
        if len(self._waiting) * self._store.row_bytes >= SEGMENT_BYTES:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._store.append(list(self._waiting), [pixels_RRC[None] for pixels_RRC in self._waiting.values()])
            self._written |= self._waiting.keys()
            self._waiting = {}
