"""Stored features: the outputs of the frozen part of a network for every image, computed once and kept by content."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.data.memory import free_memory
from sortal.data.pixels import MEMORY_SHARE
from sortal.data.samples import Features, HeldFeatures, Pixels
from sortal.data.store import Cache, RowStore
from sortal.engines.protocol import Frozen
from sortal.errors import MachineFailed
from sortal.events import Observer, Progress, ignore

VECTORS_AT_ONCE = 64  # bounds memory: the views of so many images are held while their features are computed
BYTES_AT_ONCE = 64 << 20  # and at most so much of what they give

Compute = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""From rows (M,) to their features (M, ...)."""


@dataclass
class _Work:
    """How many feature vectors there are to compute, and how many are done."""

    total: int
    observe: Observer
    done: int = 0

    def advance(self, vectors: int) -> None:
        self.done += vectors
        self.observe(Progress("features", self.done, self.total, "views"))


@dataclass(frozen=True)
class StoredFeatures:
    """Features that are read from their stores, which are open, whenever they are asked for."""

    plain_store: RowStore
    views_store: RowStore
    plain_places_N: NDArray[np.int64]
    views_places_N: NDArray[np.int64]

    @property
    def count(self) -> int:
        return self.views_store.row_shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.plain_store.row_shape

    def plain(self, rows_B: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.plain_store.take(self.plain_places_N[rows_B])

    def views(self, rows_B: NDArray[np.int64], view_B: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.views_store.take_parts(self.views_places_N[rows_B], view_B)


def bytes_needed(shape: Sequence[int], *, images: int, training_images: int, views: int) -> int:
    """What the features of so many images, and the views of those that train, take in a store and in memory."""
    each = int(np.prod(shape, dtype=np.int64)) * np.dtype(np.float32).itemsize
    return (images + views * training_images) * each


def stored_features(
    frozen: Frozen,
    pixels: Pixels,
    contents: Sequence[str],
    keys_N: NDArray[np.uint64],
    train_M: NDArray[np.int64],
    *,
    views: int,
    views_key: str,
    cache: Cache,
    opened: ExitStack,
    observe: Observer = ignore,
) -> tuple[Features, int]:
    """Features of all rows, with augmented views of the training rows, and how many of them had to be computed.

    `views_key` identifies the draws of the views (augmentation and seed); with the frozen part's own key it names the store.
    They are held in memory if they need at most a quarter of what is free; else the stores stay open, in `opened`. Raises
    `MachineFailed` where neither the stores nor the memory have room.
    """
    of_training = [contents[row] for row in train_M]
    needed = bytes_needed(frozen.shape, images=len(contents), training_images=len(train_M), views=views)
    held = needed <= free_memory() // MEMORY_SHARE
    with ExitStack() as stack:
        plain = stack.enter_context(RowStore(cache, "features", frozen.key, frozen.shape, np.float32))
        varied = stack.enter_context(
            RowStore(cache, "features", f"{frozen.key}-{views_key}", (views, *frozen.shape), np.float32)
        )
        work = _Work(len(plain.missing(contents)) + views * len(varied.missing(of_training)), observe)
        everything = np.arange(len(contents))
        of_plain = _Part(plain, contents, everything, lambda rows: frozen.outputs(pixels.read(rows)))
        of_views = _Part(varied, of_training, train_M, lambda rows: frozen.views(pixels.read(rows), keys_N[rows]), views)
        view_rows_N = np.full(len(contents), -1, dtype=np.int64)
        if held:
            view_rows_N[train_M] = np.arange(len(train_M))
            return HeldFeatures(of_plain.read(cache, work), of_views.read(cache, work), view_rows_N), work.total
        if not (of_plain.stored(cache, work) and of_views.stored(cache, work)):
            raise MachineFailed(
                f"the outputs of the frozen part need {needed / 1e6:,.0f} MB, and neither the stores nor the memory have room",
                hint="make room (see `sortal cache`) and go on with --resume, or begin a run with frozen = 'pixels'",
            )
        view_rows_N[train_M] = varied.locate(of_training)
        opened.push(stack.pop_all())
        return StoredFeatures(plain, varied, plain.locate(contents), view_rows_N), work.total


@dataclass
class _Part:
    """The features of some contents, one store's rows, and how to compute what is missing."""

    store: RowStore
    contents: Sequence[str]
    rows_M: NDArray[np.int64]
    compute: Compute
    each: int = 1
    """Features in a row."""

    def stored(self, cache: Cache, work: _Work) -> bool:
        """Put what is missing into the store; False where it may not take that much."""
        missing = self.store.missing(self.contents)
        if not cache.make_room(len(missing) * self.store.row_bytes):
            return False
        if missing:
            self.store.append(missing, self._computed(missing, work))
        return True

    def read(self, cache: Cache, work: _Work) -> NDArray[np.float32]:
        """All of them, shape (M, ...); what the store may not take is held for this training alone."""
        if self.stored(cache, work):
            return self.store.read(self.contents)
        missing = self.store.missing(self.contents)
        fresh = np.concatenate(list(self._computed(missing, work)))
        place_of = {content: place for place, content in enumerate(missing)}
        result = np.empty((len(self.contents), *self.store.row_shape), dtype=np.float32)
        fresh_M = np.array([content in place_of for content in self.contents], dtype=bool)
        result[fresh_M] = fresh[[place_of[content] for content in self.contents if content in place_of]]
        result[~fresh_M] = self.store.read([content for content in self.contents if content not in place_of])
        return result

    def _computed(self, contents: Sequence[str], work: _Work) -> Iterator[NDArray[np.float32]]:
        row_of = dict(zip(reversed(self.contents), reversed(self.rows_M.tolist()), strict=True))
        rows = np.array([row_of[content] for content in contents], dtype=np.int64)
        size = max(1, min(VECTORS_AT_ONCE // self.each, BYTES_AT_ONCE // max(1, self.store.row_bytes)))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield self.compute(part)
            work.advance(len(part) * self.each)
