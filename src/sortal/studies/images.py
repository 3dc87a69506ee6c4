"""A study's images: divided once, for all rows and seeds alike; fewer than there are are drawn class by class."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sortal.augment import draws
from sortal.data.split import assign_splits
from sortal.errors import DataError
from sortal.manifest import SPLITS, Manifest
from sortal.studies.model import Images

TENTH = 0.1
"""Share of the training images that judges choices where the data gives no validation split."""
TEST_SHARE = 0.15
"""Share that judges the result where the data gives no test split: the plan's own."""


def divided(manifest: Manifest, wanted: Images) -> Manifest:
    """The images that a study uses, each with its split; images that cannot be used are left out.

    What the data gives as validation and test images stays so; else they are taken from the training images, copies and
    groups on one side. Raises `DataError` where there are fewer than are wanted.
    """
    used = manifest.used
    pool = sum(split in (None, "train") for split in used.column("split"))
    shares = {
        name: 0.0 if name in manifest.given_splits else min(1.0, count / max(1, pool)) if count else usual
        for name, count, usual in (("val", wanted.val, TENTH), ("test", wanted.test, TEST_SHARE))
    }
    if sum(shares.values()) >= 1:
        raise DataError(
            f"{manifest.root} has {pool:,} images that may train: too few for {wanted.val:,} validation and "
            f"{wanted.test:,} test images beside them",
            hint="lower images.val and images.test",
        )
    whole = assign_splits(used, val=shares["val"], test=shares["test"], seed=wanted.seed)
    counts = {"train": wanted.train, "val": wanted.val, "test": wanted.test}
    _require(whole, counts)
    split_N = np.array(whole.column("split"))
    rows = np.concatenate(
        [
            found if not counts[name] else found[drawn(whole.labels_N[found], whole.keys_N[found], counts[name], wanted.seed)]
            for name in SPLITS
            for found in [np.flatnonzero(split_N == name)]
        ]
    )
    chosen = whole.take(np.sort(rows))
    # Given, from the runs' point of view: nothing is left for them to divide.
    return Manifest(chosen.table, chosen.classes, chosen.root, SPLITS)


def only(manifest: Manifest, *splits: str) -> Manifest:
    """The rows of some splits, which are then all that the manifest gives."""
    rows = np.flatnonzero([split in splits for split in manifest.column("split")])
    found = manifest.take(rows)
    return Manifest(found.table, found.classes, found.root, splits)


def drawn(labels_N: NDArray[np.int64], keys_N: NDArray[np.uint64], count: int, seed: int) -> NDArray[np.int64]:
    """Which of N rows are drawn, in order: `count` of them, the classes' shares as they were, at least one a class.

    Each row's draw depends on its content and the seed alone, so that a smaller draw is part of a larger one (but for
    rounding), and rows that are added to the data leave the others' draws as they were.
    """
    _, label_N, sizes_K = np.unique(labels_N, return_inverse=True, return_counts=True)
    quota_K = _quotas(sizes_K, count)
    order = np.lexsort((keys_N, draws.uniform(seed, 0, keys_N, "study"), label_N))
    rank_N = np.empty(len(labels_N), np.int64)
    rank_N[order] = np.arange(len(labels_N)) - np.repeat(np.cumsum(sizes_K) - sizes_K, sizes_K)
    return np.flatnonzero(rank_N < quota_K[label_N])


def _quotas(sizes_K: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` shared among classes by the largest remainder; a class that would get none takes one of the largest's."""
    exact_K = count * sizes_K / sizes_K.sum()
    quota_K = np.floor(exact_K).astype(np.int64)
    order = np.argsort(quota_K - exact_K, kind="stable")
    quota_K[order[: count - int(quota_K.sum())]] += 1
    if count >= len(sizes_K):
        for empty in np.flatnonzero(quota_K == 0):
            quota_K[empty], quota_K[quota_K.argmax()] = 1, quota_K.max() - 1
    return np.asarray(quota_K, dtype=np.int64)


def _require(manifest: Manifest, counts: Mapping[str, int]) -> None:
    found = {name: len(manifest.split(name)) for name in SPLITS}
    problems = [
        f"images.{name}: {count:,} are wanted and there are {found[name]:,}"
        for name, count in counts.items()
        if count > found[name] or not found[name]
    ]
    if 0 < counts["train"] < len(manifest.classes):
        problems.append(f"images.train: {counts['train']} images cannot show {len(manifest.classes)} classes")
    if problems:
        raise DataError("\n  ".join([f"{manifest.root} does not have the images of this study:", *problems]))
