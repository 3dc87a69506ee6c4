"""Stored pixels: every image of a manifest decoded once, and read by row ever after; from memory, the disk, or decoded anew."""

import hashlib
import json
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
import PIL
from numpy.typing import NDArray

from sortal.data.memory import free_memory
from sortal.data.parallel import ordered, told
from sortal.data.sources import Source, open_source
from sortal.data.store import Cache, RowStore
from sortal.errors import DataError, UnreadableImage
from sortal.events import Note, Observer, ignore
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, stored_pixels

VERSION = 1  # of the decoder: another one makes other pixels, which must not be mixed with these
MEMORY_SHARE = 4  # pixels are held in memory if they need at most a quarter of what is free
BATCH_BYTES = 8 << 20  # decoded pixels that are written at once
IDLE = 0.05  # share of an epoch in which the network waited for pixels, from which on it is worth more memory
IDLE_MEMORY_SHARE = 2  # then half of what is free may be taken
ROWS_AT_ONCE = 256  # that are read together into memory


class StoredPixels:
    """The pixels of a manifest's rows, uint8 of shape (B, R, R, C) for B rows; `fill` them before the first `read`.

    Rows that are set aside have no pixels. Close it, or use it in a `with`, so that its store may be removed later.
    """

    def __init__(self, manifest: Manifest, preprocess: Preprocess, cache: Cache, *, workers: int | None = None) -> None:
        self._preprocess = preprocess
        self._cache = cache
        self._workers = workers
        self._root = manifest.root
        self._sources = manifest.sources
        self._contents = manifest.column("content")
        self._excluded_N = np.array([reason is not None for reason in manifest.column("exclusion")], dtype=bool)
        self._images: Source | None = None
        self._lock = threading.Lock()
        side = preprocess.resize
        self.shape = (side, side, preprocess.channels)
        self._store = open_pixel_store(preprocess, cache)
        self._memory: NDArray[np.uint8] | None = None
        self._places_N = np.full(len(self._sources), -1, np.int64)
        self.where = "on the fly"
        """'memory', 'disk' or 'on the fly'."""
        self.decoded = 0
        """Images decoded so far, by `fill` and by reading on the fly."""
        self._observe: Observer = ignore
        self._told_idle = False

    def __enter__(self) -> "StoredPixels":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store and of the images' source."""
        self._store.close()
        if self._images is not None:
            self._images.close()
            self._images = None

    def __len__(self) -> int:
        return len(self._sources)

    def fill(self, observe: Observer = ignore) -> None:
        """Decode what the store does not hold yet, then choose where to read from.

        Raises:
            DataError: for an image that was readable when it was scanned and is not any more, by name.
            MachineFailed: where the disk is full; what was finished is kept.
        """
        self._observe = observe
        used = np.flatnonzero(~self._excluded_N)
        row_of: dict[str, int] = {}
        for row in used.tolist():
            row_of.setdefault(self._content(row), row)
        missing = self._store.missing(list(row_of))
        stored = not missing or self._cache.make_room(len(missing) * self._store.row_bytes)
        if missing and stored:
            rows = [row_of[content] for content in missing]
            images = told(ordered(self._decode, rows, self._workers), what="decode", total=len(rows), observe=observe)
            self._store.append(missing, self._stacked(images))
        self._locate()
        if not stored:
            needed = len(row_of) * self._store.row_bytes
            text = f"the pixels need {needed / 1e6:,.0f} MB, more than the stores may take"
            cure = "images are decoded whenever they are read; a larger store.limit is quicker"
            observe(Note(f"{text}: {cure}", "warning"))
        elif len(used) * self._store.row_bytes <= free_memory() // MEMORY_SHARE:
            self._memory = self._store.take(self._places_N[used])
            self._places_N[used] = np.arange(len(used))
            self.where = "memory"
        else:
            self.where = "disk"
            needed = len(used) * self._store.row_bytes
            observe(
                Note(f"the pixels need {needed / 1e6:,.0f} MB, more than a quarter of the free memory: they stay on the disk")
            )

    def settle(self, idle: float) -> None:
        """Choose anew where to read from, told which share of an epoch (0..1) the network waited for pixels.

        Where it waited noticeably and half of the free memory will do, all are held there from now on; what is read stays the
        same, and it is said in the events.
        """
        if self.where == "memory" or idle <= IDLE:
            return
        used = np.flatnonzero(~self._excluded_N)
        needed = len(used) * self._store.row_bytes
        waited = f"the network waited for pixels for {idle:.0%} of an epoch"
        if needed > free_memory() // IDLE_MEMORY_SHARE:
            if not self._told_idle:
                cure = (
                    "a smaller image_size, or more memory" if self.where == "disk" else "a larger store.limit, or more memory"
                )
                text = (
                    f"{waited}: they need {needed / 1e6:,.0f} MB, more than half of the free memory; {cure}, would be quicker"
                )
                self._observe(Note(text, "warning"))
            self._told_idle = True
            return
        before = self.where
        memory = np.empty((len(used), *self.shape), np.uint8)
        for low in range(0, len(used), ROWS_AT_ONCE):
            memory[low : low + ROWS_AT_ONCE] = self.read(used[low : low + ROWS_AT_ONCE])
        self._memory = memory
        self._places_N[used] = np.arange(len(used))
        self.where = "memory"
        was = "read from the disk" if before == "disk" else "decoded whenever they were read"
        self._observe(Note(f"{waited}: they were {was} and are held in memory from here on, {needed / 1e6:,.0f} MB"))

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels of some rows, uint8 of shape (B, R, R, C). From any thread."""
        assert not self._excluded_N[rows_B].any(), "rows that are set aside have no pixels"
        places_B = self._places_N[rows_B]
        if self._memory is not None:
            return self._memory[places_B]
        if (places_B >= 0).all():
            return self._store.take(places_B)
        pixels_BRRC = np.empty((len(rows_B), *self.shape), np.uint8)
        stored_B = places_B >= 0
        pixels_BRRC[stored_B] = self._store.take(places_B[stored_B])
        to_decode = np.flatnonzero(~stored_B)
        for place, image in zip(
            to_decode, self._counted(ordered(self._decode, rows_B[to_decode].tolist(), self._workers)), strict=True
        ):
            pixels_BRRC[place] = image
        return pixels_BRRC

    def _locate(self) -> None:
        used = np.flatnonzero(~self._excluded_N)
        self._places_N[used] = self._store.locate([self._content(row) for row in used.tolist()])

    def _content(self, row: int) -> str:
        content: str | None = self._contents[row]
        assert content is not None, "an image in use has a content hash"
        return content

    def _stacked(self, images: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Chunks of about `BATCH_BYTES`, so that small images are not written one by one."""
        size = max(1, BATCH_BYTES // self._store.row_bytes)
        counted = self._counted(images)
        while chunk := list(islice(counted, size)):
            yield np.stack(chunk)

    def _counted(self, images: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for image in images:
            with self._lock:
                self.decoded += 1
            yield image

    def _decode(self, row: int) -> NDArray[np.uint8]:
        try:
            data = self._source().read(self._sources[row])
            if hashlib.sha256(data).hexdigest() != self._contents[row]:
                raise UnreadableImage("its bytes have changed")
            return stored_pixels(data, self._preprocess)
        except UnreadableImage as error:
            raise DataError(
                f"{self._sources[row]} of {self._root} was readable when the data was scanned and is not now: {error}",
                hint="put it back as it was, or scan the data again by beginning a new run",
            ) from error

    def _source(self) -> Source:
        with self._lock:
            if self._images is None:
                self._images = open_source(Path(self._root))
            return self._images


def open_pixel_store(preprocess: Preprocess, cache: Cache) -> RowStore:
    """The store of pixels of this preprocessing."""
    shape = (preprocess.resize, preprocess.resize, preprocess.channels)
    return RowStore(cache, "pixels", pixels_key(preprocess), shape, np.uint8)


def pixels_key(preprocess: Preprocess) -> str:
    """What decides stored pixels besides the file's bytes. Not the limit of pixels: it only says which files are read."""
    geometry = [preprocess.resize, preprocess.channels, preprocess.interpolation]
    return json.dumps({"geometry": geometry, "decoder": [VERSION, PIL.__version__]})
