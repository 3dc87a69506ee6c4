"""Intervals: how far a score could lie from the truth, given how few images it was taken on."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
# Resampled counts are made in blocks of about this many numbers, 16 MB, however many images there are.
BLOCK = 1 << 21
TRIED = 41
"""Sums that `gaps_interval` tries, up to three times what was found."""


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion, within 0..1 (Wilson 1927); (0, 1) where there are no trials.

    Unlike the textbook's plus and minus it stays honest near 0 and 1 and with few trials.

    >>> low, high = wilson(10, 10)
    >>> round(low, 3), high
    (0.722, 1.0)
    """
    assert 0 <= successes <= n, (successes, n)
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, weight = successes / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    # At the ends the formula gives 0 and 1 exactly; rounding must not leave the estimate outside its own interval.
    low = 0.0 if successes == 0 else min(share, max(0.0, centre - half))
    high = 1.0 if successes == n else max(share, min(1.0, centre + half))
    return low, high


def share_interval(
    right_N: NDArray[np.bool_] | NDArray[np.float64], groups_N: NDArray[np.int64] | None = None, level: float = 0.95
) -> tuple[float, float]:
    """The interval of a share of images (each right or wrong, or right so often, 0..1), of which those of one group (a patient,
    a scene) may share their fate.

    Wilson's, of as many independent images as the groups are worth: the variance between groups tells how many (Kish 1965),
    with Student's t for their number, since few groups say little about it. Without groups, or where each is of one image, it
    is Wilson's plain interval.
    """
    n, right = len(right_N), float(right_N.sum())
    worth, widened = float(n), level
    if groups_N is not None and n:
        _, group_N = np.unique(groups_N, return_inverse=True)
        sizes_G: NDArray[np.float64] = np.bincount(group_N).astype(np.float64)
        if sizes_G.max() > 1:
            right_G: NDArray[np.float64] = np.bincount(group_N, weights=right_N).astype(np.float64)
            worth = _worth(right_G, sizes_G)
            widened = as_wide_as_student(level, len(sizes_G))
    return wilson(min(worth, right * worth / n) if n else 0.0, worth, widened)


def _worth(right_G: NDArray[np.float64], sizes_G: NDArray[np.float64]) -> float:
    """How many independent images groups are worth; between the number of groups and that of images."""
    n, count = float(sizes_G.sum()), len(sizes_G)
    share = float(right_G.sum()) / n
    if count < 2 or share in (0.0, 1.0):
        return float(count)  # nothing varied: the groups may be all that there is
    variance = count / (count - 1) * float(((right_G - share * sizes_G) ** 2).sum()) / n**2
    return n if variance == 0 else min(n, max(1.0, share * (1 - share) / variance))


def as_wide_as_student(level: float, groups: int) -> float:
    """The level at which a normal interval is as wide as Student's of so many groups at `level` (Cornish-Fisher series)."""
    z, freedom = NormalDist().inv_cdf(0.5 + level / 2), max(1, groups - 1)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return 2 * NormalDist().cdf(t) - 1


def wilson_f1(hits: int, misses: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of an F1 score of `hits` true positives and `misses` false positives and negatives together.

    Of the images that concern a class, the share of hits is a proportion, F* = tp / (tp + fp + fn), and F1, which is
    2 F* / (1 + F*), rises with it (Hand, Christen and Kirielle 2021): so Wilson's limits of F* carry over to F1.
    """
    return of_f1(wilson(hits, hits + misses, level))


def of_f1(hits: tuple[float, float]) -> tuple[float, float]:
    """The interval of F1 from that of the share of hits; see `wilson_f1`."""
    low, high = hits
    return 2 * low / (1 + low), 2 * high / (1 + high)


Groups = NDArray[np.int64] | None
"""A number for each image that those of one group share; None where images are independent."""


def count_groups(images: int, groups_N: Groups) -> int:
    """How many independent groups N images make; without groups each is one."""
    return images if groups_N is None else len(np.unique(groups_N))


def alone(images: int, groups_N: Groups) -> bool:
    """Whether several images are all of one group: nothing tells then what another would have given."""
    return images > 1 and count_groups(images, groups_N) < 2


def told_share(right_N: NDArray[np.bool_], groups_N: Groups = None) -> list[float] | None:
    """`share_interval` as a report has it: None where there are no images, or only some of one group."""
    return None if not len(right_N) or alone(len(right_N), groups_N) else list(share_interval(right_N, groups_N))


def told_mean(values_N: NDArray[np.float64], groups_N: Groups = None, *, low: float, high: float) -> list[float] | None:
    """`mean_interval` as a report has it, within what is possible: None where there are fewer than two images or groups.

    Values that are all the same may still not be: then it is as wide as a share of which nothing was seen (`wilson`) of the way
    to each end.
    """
    count = count_groups(len(values_N), groups_N)
    if count < 2:
        return None
    mean = float(values_N.mean())
    found = mean_interval(values_N, groups_N)
    if found[0] == found[1]:
        unseen = wilson(0, count)[1]
        return [mean - unseen * (mean - low), mean + unseen * (high - mean)]
    return [max(low, found[0]), min(high, found[1])]


def within(groups_N: Groups, mask_N: NDArray[np.bool_]) -> Groups:
    """The groups of some images."""
    return None if groups_N is None else groups_N[mask_N]


def resampled(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n: int,
    *,
    groups_N: NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The bootstrap (Efron 1979): S statistics of data sets drawn with replacement from n images, (resamples, S).

    `statistic` takes counts_BN, how often each of the n images was drawn into each of B data sets, and returns values
    of shape (B, S). Counts are all that a mean, a confusion matrix or a calibration bin needs: no image is copied.
    Equal seeds draw equal data sets. With `groups_N` whole groups are drawn, as many as there are, so that a data set may
    hold more or fewer images.
    """
    assert min(n, resamples) > 0, (n, resamples)
    group_N = None if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
    units = n if group_N is None else int(group_N.max()) + 1
    generator = np.random.default_rng(seed)
    block = min(resamples, max(1, BLOCK // n))
    parts = []
    for start in range(0, resamples, block):
        drawn_BG = generator.integers(0, units, size=(min(block, resamples - start), units))
        # One count for the whole block: each data set has a range of numbers of its own.
        drawn_BG += units * np.arange(len(drawn_BG))[:, None]
        counts_BG = np.bincount(drawn_BG.ravel(), minlength=drawn_BG.size).reshape(drawn_BG.shape)
        counts_BN = counts_BG if group_N is None else counts_BG[:, group_N]
        parts.append(statistic(counts_BN.astype(np.float64)))
    return np.concatenate(parts)


def mean_interval(values_N: NDArray[np.float64], groups_N: Groups = None, level: float = 0.95) -> tuple[float, float]:
    """The interval of a mean over images that may be skewed, as losses are: the bootstrap of Student's t (Efron 1981), over
    groups where there are some. A mean of values that are all the same has no width.
    """
    sums_G, sizes_G = group_sums(values_N[:, None], groups_N)
    sums_G = sums_G[:, 0]
    if len(sums_G) < 2 or np.ptp(sums_G / sizes_G) == 0:
        mean = float(values_N.mean())
        return (mean, mean) if len(sums_G) > 1 else (-math.inf, math.inf)
    parts_GS = np.column_stack([sums_G, sizes_G, sums_G**2, sums_G * sizes_G, sizes_G**2])

    def mean_and_error(counts_BG: NDArray[np.float64]) -> NDArray[np.float64]:
        sums_B, images_B, *squares = (counts_BG @ parts_GS).T
        means_B = sums_B / images_B
        spread_B = squares[0] - 2 * means_B * squares[1] + means_B**2 * squares[2]
        return np.column_stack([means_B, np.sqrt(np.maximum(spread_B, 0)) / images_B])

    draws_R2 = resampled(mean_and_error, len(sums_G))
    mean, error = mean_and_error(np.ones((1, len(sums_G))))[0].tolist()
    varied_R = draws_R2[:, 1] > 1e-9 * error
    t_R = (draws_R2[varied_R, 0] - mean) / draws_R2[varied_R, 1]
    low, high = np.quantile(t_R, [(1 - level) / 2, (1 + level) / 2])
    return float(mean - high * error), float(mean - low * error)


def gaps_interval(gaps_NS: NDArray[np.float64], groups_N: Groups = None, level: float = 0.95) -> tuple[float, float]:
    """The interval of a sum of distances, sum over S of |mean over N images|, as a calibration error is.

    Chance makes each distance larger, so the sum is too large: by how much depends on the truth. So the truth is tried out: the
    interval holds those sums under which a sum like this one would be nothing unusual. Of such a sum half is divided in the
    proportions that were found, which are noisy, and half by how much is known of each part. For the lower end that is the one
    half, the other is in the proportions of what stands out of the noise: chance adds most where most distances are truly none.
    """
    sums_GS, sizes_G = group_sums(gaps_NS, groups_N)
    images, count = float(sizes_G.sum()), len(sizes_G)
    means_S = sums_GS.sum(axis=0) / images
    found = float(np.abs(means_S).sum())
    if count < 2 or found == 0:
        return 0.0, max(found, wilson(0, count)[1])
    spread_S = ((sums_GS - sizes_G[:, None] * means_S) ** 2).sum(axis=0)
    errors_S = np.sqrt(spread_S * count / (count - 1)) / images
    known_S = _shares(np.abs(means_S)) + _shares(errors_S**2)
    standing_out_S = _shares(np.sqrt(np.maximum(means_S**2 - errors_S**2, 0)))
    noise_RS = np.random.default_rng(0).normal(size=(RESAMPLES, len(means_S))) * errors_S
    tried_T = np.linspace(0, 3 * found, TRIED)

    def usual(proportions_S: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """The sum that would be found with so little chance, for each sum that is tried out."""
        sums_TR = np.stack([np.abs(tried * proportions_S + noise_RS).sum(axis=1) for tried in tried_T])
        return np.maximum.accumulate(np.quantile(sums_TR, tail, axis=1))

    high_T = usual(_shares(_shares(known_S) + standing_out_S), (1 + level) / 2)
    low_T = usual(_shares(known_S), (1 - level) / 2)
    lowest = float(np.interp(found, high_T, tried_T)) if found > high_T[0] else 0.0
    return min(lowest, found), max(found, float(np.interp(found, low_T, tried_T)))


def _shares(parts_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parts of one; nothing of nothing."""
    total = float(parts_S.sum())
    return parts_S / total if total else parts_S


def group_sums(values_NS: NDArray[np.float64], groups_N: Groups) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sums of each group's values, shape (G, S), and its size (G,)."""
    if groups_N is None:
        return values_NS, np.ones(len(values_NS))
    _, group_N = np.unique(groups_N, return_inverse=True)
    sizes_G: NDArray[np.float64] = np.bincount(group_N).astype(np.float64)
    sums_GS = np.zeros((len(sizes_G), values_NS.shape[1]))
    np.add.at(sums_GS, group_N, values_NS)
    return sums_GS, sizes_G


def median_corrected(draws_R: NDArray[np.float64], found: float, level: float = 0.95) -> tuple[float, float]:
    """The central `level` of one statistic's draws, moved by twice the way from what was found to their median.

    The bias-corrected percentiles of Efron (1981): scores that depend on ranks, such as average precision, are drawn too high.
    """
    below = (float((draws_R < found).mean()) + float((draws_R <= found).mean())) / 2
    normal, spare = NormalDist(), 0.5 / len(draws_R)
    bias = normal.inv_cdf(min(1 - spare, max(spare, below)))
    tails = [normal.cdf(2 * bias + normal.inv_cdf(tail)) for tail in ((1 - level) / 2, (1 + level) / 2)]
    low, high = np.quantile(draws_R, tails).tolist()
    return low, high


def percentiles(draws_RS: NDArray[np.float64], level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The central `level` of each statistic's draws: two arrays of shape (S,)."""
    tail = (1 - level) / 2
    low_S, high_S = np.quantile(draws_RS, [tail, 1 - tail], axis=0)
    return low_S, high_S


def bootstrap(
    statistic: Callable[[NDArray[Any]], NDArray[np.float64]],
    n: int,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile intervals of S statistics, two arrays of shape (S,); see `resampled` for the statistic."""
    return percentiles(resampled(statistic, n, resamples=resamples, seed=seed), level)
