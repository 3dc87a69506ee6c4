"""Paired comparison: is one recipe better than another on the same images, or was it the luck of images and seeds?

The model is that of studies with several readers and many cases, seeds being the readers and images the cases: a value for
each seed and image has a part of the seed, a part of the image and a rest, all three random (Dorfman, Berbaum and Metz 1992;
degrees of freedom of Hillis 2007). So an interval tells what other images and other seeds would have given.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation.intervals import wilson

METHOD = (
    "images and seeds both taken as random (Dorfman, Berbaum and Metz 1992, degrees of freedom of Hillis 2007), "
    "each seed's runs compared image by image"
)
METHOD_OF_ONE_SEED = "images taken as random, compared one by one; with a single seed the luck of seeds is not in it"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "interval": [self.low, self.high]}


def mean_accuracy(right_SN: NDArray[np.bool_]) -> Estimate:
    """Accuracy over S seeds and N images, with its interval within 0..1."""
    return _estimate(right_SN.astype(np.float64), lowest=0.0)


def difference(right_SN: NDArray[np.bool_], others_SN: NDArray[np.bool_]) -> Estimate:
    """How much more accurate the first is than the other on the same images with the same seeds; -1..1.

    >>> a = np.ones((3, 100), bool)
    >>> b = a.copy(); b[:, :20] = False
    >>> found = difference(a, b)
    >>> round(found.mean, 3), found.beyond_noise
    (0.2, True)
    """
    if right_SN.shape != others_SN.shape:
        raise DataError(f"expected the same seeds and images, got {right_SN.shape} and {others_SN.shape}")
    return _estimate(right_SN.astype(np.float64) - others_SN.astype(np.float64), lowest=-1.0)


def _estimate(values_SN: NDArray[np.float64], *, lowest: float) -> Estimate:
    if values_SN.ndim != 2 or not values_SN.size:
        raise DataError(f"expected values of shape (seeds, images), got {values_SN.shape}")
    images = values_SN.shape[1]
    mean = float(values_SN.mean())
    if np.ptp(values_SN) == 0 or images == 1:
        # Nothing varied: as much as a proportion of which nothing was seen in so many images may still be.
        half = wilson(0, images)[1]
    else:
        variance, freedom = _variance(values_SN)
        half = _student(freedom) * math.sqrt(variance)
    return Estimate(mean, max(lowest, mean - half), min(1.0, mean + half))


def _variance(values_SN: NDArray[np.float64]) -> tuple[float, float]:
    """Variance of the grand mean over other seeds and images, and its degrees of freedom."""
    seeds, images = values_SN.shape
    by_image_N = values_SN.mean(axis=0)
    of_images = seeds * float(by_image_N.var(ddof=1))
    if seeds == 1:
        return of_images / images, images - 1.0
    by_seed_S = values_SN.mean(axis=1)
    of_seeds = images * float(by_seed_S.var(ddof=1))
    rest_SN = values_SN - by_image_N - by_seed_S[:, None] + values_SN.mean()
    rest = float((rest_SN**2).sum()) / ((seeds - 1) * (images - 1))
    total = of_seeds + max(of_images - rest, 0.0)
    if total <= of_images:  # seeds happened to agree: images alone leave at least this much open
        return of_images / (seeds * images), images - 1.0
    return total / (seeds * images), total**2 / (of_seeds**2 / (seeds - 1))


def _student(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
