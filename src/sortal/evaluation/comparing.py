"""Two models on the same images: is the one better, or was it luck; and how many images would it take to see it?

N images, of which those of one group (a patient, a scene) may share their fate. Seeds are not in it: see `paired` for studies.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation.intervals import as_wide_as_student, group_sums, percentiles, resampled

FEW = 10
"""Groups that differ, below which one more either way is counted: the unseen may still be there (Agresti and Min 2005)."""
POWER = 0.8
"""How often the difference would be seen with `images_needed` images."""

Right = NDArray[np.bool_]
Floats = NDArray[np.float64]
Groups = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more accurate the second of two models is than the first.

    Attributes:
        mean: accuracy of the second less that of the first, -1..1.
        interval: 95%, by bootstrap over groups.
        p_value: of the exact test that neither is better (McNemar 1947; of groups, every one may as well have had the models
            swapped).
        images: on how many.
        only_first, only_second: images that one alone sorted correctly.
        images_needed: how many it takes to see a difference as large as this one with a power of 0.8 at the 5% level; None
            where there is none.
    """

    mean: float
    interval: tuple[float, float]
    p_value: float
    images: int
    only_first: int
    only_second: int
    images_needed: int | None


def difference(first_N: Right, second_N: Right, groups_N: Groups | None = None) -> Difference:
    """Compare two models' hits and misses on the same N images.

    >>> a = np.array([True] * 90 + [False] * 10)
    >>> b = np.ones(100, bool)
    >>> found = difference(a, b)
    >>> found.mean, round(found.p_value, 4), found.only_second
    (0.1, 0.002, 10)
    """
    if first_N.shape != second_N.shape or first_N.ndim != 1 or not len(first_N):
        raise DataError(f"expected hits and misses of the same images, got {first_N.shape} and {second_N.shape}")
    values_N = second_N.astype(np.float64) - first_N.astype(np.float64)
    return Difference(
        mean=float(values_N.mean()),
        interval=_interval(values_N, groups_N),
        p_value=_exact(_sums(values_N, groups_N)[0]),
        images=len(values_N),
        only_first=int((values_N < 0).sum()),
        only_second=int((values_N > 0).sum()),
        images_needed=_needed(values_N, groups_N),
    )


def _interval(values_N: Floats, groups_N: Groups | None) -> tuple[float, float]:
    """The 95% interval of a mean of -1, 0 and 1, by bootstrap over groups: percentiles, as much further out as Student's t is
    than the normal (Hesterberg 2015).
    """
    sums_G, sizes_G = _sums(values_N, groups_N)
    if np.count_nonzero(sums_G) < FEW:
        sums_G, sizes_G = np.append(sums_G, [1.0, -1.0]), np.append(sizes_G, [1.0, 1.0])
    count = len(sums_G)

    def mean(counts_BG: Floats) -> Floats:
        return np.asarray((counts_BG @ sums_G) / (counts_BG @ sizes_G))[:, None]

    low, high = percentiles(resampled(mean, count), as_wide_as_student(0.95, count))
    return float(low[0]), float(high[0])


def _sums(values_N: Floats, groups_N: Groups | None) -> tuple[Floats, Floats]:
    """The sum of each group's values, and its size."""
    sums_G1, sizes_G = group_sums(values_N[:, None], groups_N)
    return sums_G1[:, 0], sizes_G


def _exact(sums_G: Floats) -> float:
    """The chance of a sum as far from 0 as this one, were the sign of each group's sum tossed with a coin; exact."""
    sizes_G = np.abs(np.rint(sums_G)).astype(np.int64)
    chances = np.ones(1)  # of the sums -total, -total + 1, ... total
    for size, count in zip(*np.unique(sizes_G[sizes_G > 0], return_counts=True), strict=True):
        tossed = np.zeros(2 * size * count + 1)
        tossed[:: 2 * size] = _coins(int(count))
        chances = np.convolve(chances, tossed)
    middle = len(chances) // 2
    seen = abs(round(float(sums_G.sum())))
    return float(min(1.0, chances[: middle - seen + 1].sum() + chances[middle + seen :].sum()))


def _coins(tosses: int) -> Floats:
    """The chance of 0, 1, ... heads."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tosses + 1)))])
    heads = np.arange(tosses + 1)
    return np.asarray(np.exp(logs[tosses] - logs[heads] - logs[tosses - heads] - tosses * math.log(2)))


def _needed(values_N: Floats, groups_N: Groups | None) -> int | None:
    """Images for a difference of this size to be seen (Connor 1987), as many more as groups say less than lone images."""
    mean, differing = float(values_N.mean()), float(np.abs(values_N).mean())
    if mean == 0:
        return None
    z, power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(POWER)
    images = (z * math.sqrt(differing) + power * math.sqrt(max(0.0, differing - mean**2))) ** 2 / mean**2
    sums_G, sizes_G = _sums(values_N, groups_N)
    alone = float(((values_N - mean) ** 2).sum())
    together = float(((sums_G - mean * sizes_G) ** 2).sum())
    return math.ceil(images * (max(1.0, together / alone) if alone else 1.0))
