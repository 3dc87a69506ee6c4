"""In which order images are shown: the rows of an epoch as a pure function of (seed, epoch), and where its batches begin.

A sampler that shows the images of rare classes more often walks through each class again and again, every time in another
order, and each epoch goes on where the one before it would have stopped. So all images of a class are shown equally often, up
to one, however much larger or smaller than its share of an epoch the class is; drawing with replacement would leave a third of
a class out of every pass and show some images four times. Where an epoch goes on follows from its number alone: nothing has to
be remembered for a resume.

This stands beside the draws, because an order is one; whatever engine trains asks here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.augment import draws
from sortal.recipe import Sampler

STRIDE = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio, an odd number: multiples of it are spread over all 64 bits and never the same."""


@dataclass(frozen=True, slots=True)
class Order:
    """One epoch: places 0..M-1 among the training rows, and which walk through its class each of them is from."""

    places_M: NDArray[np.int64]
    walks_M: NDArray[np.int64]
    """0 where every image comes once an epoch. An image that comes twice has two different numbers."""


def bounds(total: int, batch_size: int) -> list[tuple[int, int]]:
    """Where batches begin and end in an epoch's order; a single image left over joins the batch before it (batch norm).

    >>> bounds(17, 8)
    [(0, 8), (8, 17)]
    """
    starts = list(range(0, total, batch_size))
    if batch_size > 1 and len(starts) > 1 and total - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], total], strict=True))


def epoch_order(spec: Sampler, labels_M: NDArray[np.int64], *, batch_size: int, seed: int, epoch: int) -> Order:
    """The order of one epoch over training rows with these labels; it is always as long as there are training rows.

    >>> rare = np.array([0, 0, 0, 0, 0, 1])
    >>> order = epoch_order(Sampler(name="balanced"), rare, batch_size=2, seed=0, epoch=0)
    >>> rare[order.places_M].reshape(3, 2).sum(axis=1)
    array([1, 1, 1])
    """
    total = len(labels_M)
    if spec.name == "shuffle":
        return Order(draws.permutation(seed, epoch, total, "order"), np.zeros(total, dtype=np.int64))
    present_C, index_M, counts_C = np.unique(labels_M, return_inverse=True, return_counts=True)
    if spec.name == "oversample":
        quota_C = quotas(counts_C, spec.power)
        class_M, first_C, batch_M = np.repeat(np.arange(len(present_C)), quota_C), epoch * quota_C, np.zeros(total, np.int64)
    else:
        # Dealt out like cards, on and on through all epochs: any run of slots, so any batch, has the classes equally often.
        before = epoch * total
        class_M = (before + np.arange(total)) % len(present_C)
        first_C = (before + len(present_C) - 1 - np.arange(len(present_C))) // len(present_C)
        batch_M = np.repeat(*_numbered(bounds(total, batch_size)))
    places_M, walks_M = _walked(index_M, class_M, first_C, seed)
    # Within a batch too the order is drawn: neighbours are mixed, and must not always be of neighbouring classes.
    shuffled_M = np.lexsort((draws.permutation(seed, epoch, total, "order"), batch_M))
    return Order(places_M[shuffled_M], walks_M[shuffled_M])


def quotas(counts_C: NDArray[np.int64], power: float) -> NDArray[np.int64]:
    """How many of an epoch's images each class gets: in proportion to count ** power, with the sum of the counts.

    Power 0 gives all classes the same, 1 would give each what it has (Kang et al. 2020, "Decoupling representation and
    classifier for long-tailed recognition"). What rounding leaves over goes to the largest remainders.

    >>> quotas(np.array([80, 20]), 0.0), quotas(np.array([80, 20]), 0.5)
    (array([50, 50]), array([67, 33]))
    """
    total = int(counts_C.sum())
    exact_C = np.asarray(counts_C**power / (counts_C**power).sum() * total)
    whole_C: NDArray[np.int64] = np.floor(exact_C).astype(np.int64)
    whole_C[np.argsort(whole_C - exact_C, kind="stable")[: total - whole_C.sum()]] += 1
    return whole_C


def varied_keys(keys_B: NDArray[np.uint64], walks_B: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Keys for the draws of one showing: an image that comes twice in an epoch is augmented in two ways; walk 0 is the key."""
    return keys_B + walks_B.astype(np.uint64) * STRIDE


def _numbered(limits: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the batches, and their sizes."""
    return np.arange(len(limits)), np.array([high - low for low, high in limits], dtype=np.int64)


def _walked(
    index_M: NDArray[np.int64], class_M: NDArray[np.int64], first_C: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The place that each slot falls on, and the walk through its class that it belongs to.

    `index_M` are the classes of the places, `class_M` those of the slots; slots of class c are its turns from `first_C[c]` on.
    """
    places_M, walks_M = np.empty((2, len(class_M)), dtype=np.int64)
    owns, slots = _grouped(index_M, len(first_C)), _grouped(class_M, len(first_C))
    for number, (own, own_slots, first) in enumerate(zip(owns, slots, first_C, strict=True)):
        if len(own_slots):
            walk, within = divmod(first + np.arange(len(own_slots)), len(own))
            # Keyed by the class's number, so that two classes of equal size do not walk in step.
            orders = [draws.permutation(seed, at, len(own), f"walk/{number}") for at in range(int(walk[0]), int(walk[-1]) + 1)]
            places_M[own_slots] = own[np.stack(orders)[walk - walk[0], within]]
            walks_M[own_slots] = walk
    return places_M, walks_M


def _grouped(class_M: NDArray[np.int64], classes: int) -> list[NDArray[np.int64]]:
    """Positions by class, in their order."""
    by_class = np.argsort(class_M, kind="stable")
    return np.split(by_class, np.searchsorted(class_M[by_class], np.arange(1, classes)))
