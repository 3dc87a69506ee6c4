"""Stored features: the outputs of a frozen network for every image, computed once and kept by content."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Features, Pixels
from sortal.data.store import Cache, RowStore
from sortal.engines.protocol import Frozen
from sortal.events import Observer, Progress, ignore

VECTORS_AT_ONCE = 64  # bounds memory: the views of so many images are held while their features are computed

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
    observe: Observer = ignore,
) -> tuple[Features, int]:
    """Features of all rows, with augmented views of the training rows, and how many feature vectors had to be computed.

    `views_key` identifies the draws of the views (augmentation and seed); with the frozen part's own key it names the store.
    """
    plain_shape, views_shape = (frozen.dimensions,), (views, frozen.dimensions)
    of_training = [contents[row] for row in train_M]
    with (
        RowStore(cache, "features", frozen.key, plain_shape, np.float32) as plain,
        RowStore(cache, "features", f"{frozen.key}-{views_key}", views_shape, np.float32) as varied,
    ):
        work = _Work(len(plain.missing(contents)) + views * len(varied.missing(of_training)), observe)
        everything = np.arange(len(contents))
        plain_ND = _complete(plain, cache, contents, everything, lambda rows: frozen.outputs(pixels.read(rows)), work)
        views_MVD = _complete(
            varied, cache, of_training, train_M, lambda rows: frozen.views(pixels.read(rows), keys_N[rows]), work
        )
    view_rows_N = np.full(len(contents), -1, dtype=np.int64)
    view_rows_N[train_M] = np.arange(len(train_M))
    return Features(plain_ND, views_MVD, view_rows_N), work.total


def _complete(
    store: RowStore, cache: Cache, contents: Sequence[str], rows_M: NDArray[np.int64], compute: Compute, work: _Work
) -> NDArray[np.float32]:
    """The features of some contents, shape (M, ...), from the store as far as it has them; what is computed goes into it."""
    missing = store.missing(contents)
    row_of = dict(zip(reversed(contents), reversed(rows_M.tolist()), strict=True))
    rows = np.array([row_of[content] for content in missing], dtype=np.int64)
    if cache.make_room(len(missing) * store.row_bytes):
        if missing:
            store.append(missing, _computed(rows, store.row_shape, compute, work))
        return store.read(contents)
    # The stores may not take that much: the features are held for this training alone.
    fresh = np.concatenate(list(_computed(rows, store.row_shape, compute, work)))
    place_of = {content: place for place, content in enumerate(missing)}
    result = np.empty((len(contents), *store.row_shape), dtype=np.float32)
    fresh_M = np.array([content in place_of for content in contents], dtype=bool)
    result[fresh_M] = fresh[[place_of[content] for content in contents if content in place_of]]
    result[~fresh_M] = store.read([content for content in contents if content not in place_of])
    return result


def _computed(
    rows_M: NDArray[np.int64], row_shape: tuple[int, ...], compute: Compute, work: _Work
) -> Iterator[NDArray[np.float32]]:
    each = int(np.prod(row_shape[:-1], dtype=np.int64))
    size = max(1, VECTORS_AT_ONCE // each)
    for start in range(0, len(rows_M), size):
        part = rows_M[start : start + size]
        yield compute(part)
        work.advance(len(part) * each)
