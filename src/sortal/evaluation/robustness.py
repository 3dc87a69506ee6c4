"""Robustness: what breaks the model first. The same held-out images are spoilt in many ways, each stronger and stronger."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import comb
from os import cpu_count
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.corruptions import CORRUPTIONS, STRENGTHS, At, Corruption, Images, corrupt
from sortal.evaluation.intervals import wilson
from sortal.events import Observer, Progress, ignore

NONE = "none"
"""The name of the row of images as they are; its strength is 0."""
MOST_IMAGES = 256
MOST_PIXELS = 48 * 224 * 224
"""Of all images together: 48 photographs, a minute or two of EfficientNet-Lite0 on two cores."""
AT_ONCE = 8  # images that are spoilt together; bounds memory
NOTICED, DOUBT = 0.05, 0.05  # a fall in accuracy that counts, and how likely it may be as mere luck

Predict = Callable[[Images], NDArray[np.float32]]
"""From the network's pixels, uint8 (N, S, S, C), to probabilities (N, K)."""
Right = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""From those probabilities to whether each of the images is answered rightly, shape (N,)."""


class Draws(At, Protocol):
    """Where random numbers are drawn, and some of whose rows can be taken out."""

    def only(self, rows_M: NDArray[np.int64]) -> At:
        """Some of the images, whose draws stay what they were."""


def chosen(count: int, side: int) -> NDArray[np.int64]:
    """Rows of `count` images that are looked at, evenly spread: as many as `MOST_IMAGES` and `MOST_PIXELS` allow.

    >>> chosen(3, 224).tolist(), len(chosen(10_000, 224)), len(chosen(10_000, 32))
    ([0, 1, 2], 48, 256)
    """
    most = max(1, min(count, MOST_IMAGES, MOST_PIXELS // side**2))
    return np.linspace(0, count - 1, most).astype(np.int64) if count else np.zeros(0, np.int64)


def robustness(
    predict: Predict, images_NSSC: Images, right: Right, at: Draws, *, observe: Observer = ignore
) -> tuple[dict[str, Any], ...]:
    """Rows `corruption`, `strength`, `images`, `accuracy` and its 95% `accuracy_interval` (Wilson).

    The first row is of the images as they are (`NONE`, strength 0); then the families of `evaluation.corruptions`, each at
    strengths 1 to 5, that which breaks the model first at the top: by the weakest strength at which accuracy has fallen by
    `NOTICED` or more and, image by image, beyond luck (exact sign test, as McNemar's), then by mean accuracy.

    `images_NSSC` are what the network sees, uint8; `at` (see `Draws`) has a row for each. Works for any predictor.
    """
    families = [each for each in CORRUPTIONS.values() if images_NSSC.shape[3] > 1 or not each.colour]
    total = len(images_NSSC) * (1 + len(families) * len(STRENGTHS))
    clean_N = right(predict(images_NSSC))
    done = len(images_NSSC)
    observe(Progress("robustness", done, total))
    found: list[tuple[int, float, list[dict[str, Any]]]] = []
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for family in families:
            rows, broken = [], len(STRENGTHS) + 1
            for strength in STRENGTHS:
                right_N = right(predict(_spoilt(pool, images_NSSC, family, strength, at)))
                rows.append(_row(family.name, strength, right_N))
                if strength < broken and breaks(clean_N, right_N):
                    broken = strength
                done += len(images_NSSC)
                observe(Progress("robustness", done, total))
            found.append((broken, float(np.mean([row["accuracy"] for row in rows])), rows))
    found.sort(key=lambda each: each[:2])
    return (_row(NONE, 0, clean_N), *(row for _, _, rows in found for row in rows))


def breaks(clean_N: NDArray[np.bool_], right_N: NDArray[np.bool_]) -> bool:
    """Whether accuracy on the same images has fallen, by `NOTICED` or more and beyond what luck would do."""
    lost, won = int((clean_N & ~right_N).sum()), int((~clean_N & right_N).sum())
    return lost - won >= NOTICED * len(clean_N) and _luck(lost, won) <= DOUBT


def _luck(lost: int, won: int) -> float:
    """How likely so many or more of the images that changed would be lost, were both sides equally likely."""
    changed = lost + won
    return float(sum(comb(changed, k) for k in range(lost, changed + 1)) / 2**changed)


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """What breaks the model first, as a sentence; '' without rows."""
    if len(rows) < 2:
        return ""
    clean, first = rows[0], rows[1]["corruption"]
    of_first = [row for row in rows if row["corruption"] == first]
    fallen = [row for row in of_first if clean["accuracy"] - row["accuracy"] >= NOTICED]
    if not fallen:
        return f"none of the {len({row['corruption'] for row in rows[1:]})} corruptions takes {NOTICED:.0%} of the accuracy"
    row = fallen[0]
    return (
        f"{CORRUPTIONS[first].about} ({first}) breaks the model first: at strength {row['strength']} of {STRENGTHS[-1]} "
        f"accuracy falls from {clean['accuracy']:.3f} to {row['accuracy']:.3f}, on the same {row['images']:,} images"
    )


def _spoilt(pool: ThreadPoolExecutor, images: Images, family: Corruption, strength: int, at: Draws) -> Images:
    def part(start: int) -> Images:
        rows = np.arange(start, min(start + AT_ONCE, len(images)))
        return corrupt(images[rows], family.name, strength, at.only(rows))

    return np.concatenate(list(pool.map(part, range(0, len(images), AT_ONCE))))


def _row(name: str, strength: int, right_N: NDArray[np.bool_]) -> dict[str, Any]:
    n, right = len(right_N), int(right_N.sum())
    return {
        "corruption": name,
        "strength": strength,
        "images": n,
        "accuracy": right / n,
        "accuracy_interval": list(wilson(right, n)),
    }
