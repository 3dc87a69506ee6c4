"""Robustness: what breaks the model first, where that can be told. The same held-out images are spoilt in many ways, each
stronger and stronger.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.comparing import Difference, difference
from sortal.evaluation.corruptions import CORRUPTIONS, STRENGTHS, At, Corruption, Images, corrupt
from sortal.evaluation.intervals import Groups, count_groups, share_interval
from sortal.events import Observer, Progress, ignore

NONE = "none"
"""The name of the row of images as they are; its strength is 0."""
MOST_IMAGES = 256
MOST_PIXELS = 48 * 224 * 224
"""Of all images together: 48 photographs, a minute or two of EfficientNet-Lite0 on two cores."""
AT_ONCE = 8  # images that are spoilt together; bounds memory
NOTICED, DOUBT = 0.05, 0.05  # a fall in accuracy that counts, and how likely any that is named may be as mere luck
MOST_TIED = 4
"""Corruptions that a sentence names beside the first."""

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
    predict: Predict, images_NSSC: Images, right: Right, at: Draws, *, groups_N: Groups = None, observe: Observer = ignore
) -> tuple[dict[str, Any], ...]:
    """Rows `corruption`, `strength`, `images`, `accuracy`, `accuracy_interval`, `drop` (accuracy of the same images as they are
    less this one), `drop_interval`, `broken` and `tied`; intervals are 95%, over groups, and null with a single group.

    The first row is of the images as they are (`NONE`, strength 0; of no drop); then the families of `evaluation.corruptions`,
    each at strengths 1 to 5, that which breaks the model first at the top: by the weakest strength that is `broken`, then by
    mean accuracy. A fall is `broken` where it is `NOTICED` or more and, image by image and group by group, beyond luck (exact
    test of `evaluation.comparing`), as are those at all higher strengths. With F families each is asked F times as strictly,
    so that a model that nothing breaks is called broken once in 20 times at most. `tied` is true of each family that cannot be
    told from the first, at the strength at which that breaks, and of the first if there is such a family.

    `images_NSSC` are what the network sees, uint8; `at` (see `Draws`) has a row for each. Works for any predictor.
    """
    families = [each for each in CORRUPTIONS.values() if images_NSSC.shape[3] > 1 or not each.colour]
    total = len(images_NSSC) * (1 + len(families) * len(STRENGTHS))
    clean_N = right(predict(images_NSSC))
    done = len(images_NSSC)
    observe(Progress("robustness", done, total))
    found: dict[str, list[NDArray[np.bool_]]] = {}
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for family in families:
            found[family.name] = []
            for strength in STRENGTHS:
                found[family.name].append(right(predict(_spoilt(pool, images_NSSC, family, strength, at))))
                done += len(images_NSSC)
                observe(Progress("robustness", done, total))
    return (_row(NONE, 0, clean_N, groups_N), *ranked(clean_N, found, groups_N))


def ranked(
    clean_N: NDArray[np.bool_], found: Mapping[str, Sequence[NDArray[np.bool_]]], groups_N: Groups = None
) -> list[dict[str, Any]]:
    """The rows of spoilt images: family to whether each image is answered rightly at each strength; see `robustness`."""
    drops = {name: [difference(right_N, clean_N, groups_N) for right_N in rights] for name, rights in found.items()}
    doubt = DOUBT / max(1, len(found))
    broken = {name: _broken(each, doubt) for name, each in drops.items()}
    order = sorted(found, key=lambda name: (-sum(broken[name]), float(np.mean(found[name]))))
    tied: set[str] = set()
    if order and any(broken[order[0]]):
        first = found[order[0]]
        weakest = broken[order[0]].index(True)
        tied = {name for name in order[1:] if not _worse(difference(first[weakest], found[name][weakest], groups_N), doubt)}
        tied |= {order[0]} if tied else set()
    return [
        _row(name, strength, right_N, groups_N, drop=drop, broken=is_broken, tied=name in tied)
        for name in order
        for strength, right_N, drop, is_broken in zip(STRENGTHS, found[name], drops[name], broken[name], strict=True)
    ]


def _broken(drops: Sequence[Difference], doubt: float) -> list[bool]:
    """Of each strength, asked from the strongest down: asking in this order, and no further than the first that may be luck,
    costs no more doubt than a single question.
    """
    told: list[bool] = []
    for drop in reversed(drops):
        told.append(all(told) and drop.mean >= NOTICED and _worse(drop, doubt))
    return told[::-1]


def _worse(drop: Difference, doubt: float) -> bool:
    """Whether the first of two is worse beyond luck."""
    return drop.mean > 0 and drop.p_value / 2 <= doubt


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """What breaks the model first, as a sentence, or that it cannot be told; '' without rows or of an older version."""
    if len(rows) < 2 or "broken" not in rows[1]:
        return ""
    clean, spoilt = rows[0], rows[1:]
    images, kinds = clean["images"], list(dict.fromkeys(row["corruption"] for row in spoilt))
    row = next((row for row in spoilt if row["broken"]), None)
    if row is None:
        highest = [row["drop_interval"] and row["drop_interval"][1] for row in spoilt]
        if any(high is None for high in highest):
            return f"nothing can be told of what breaks the model: of its {images:,} images all are of one group"
        if max(highest) < NOTICED:
            return f"none of the {len(kinds)} corruptions takes {NOTICED:.0%} of the accuracy, on the same {images:,} images"
        return f"nothing can be told of what breaks the model: on {images:,} images no fall in accuracy is beyond luck"
    tied = [kind for kind in dict.fromkeys(row["corruption"] for row in spoilt if row["tied"]) if kind != row["corruption"]]
    low, high = row["drop_interval"]
    sentence = (
        f"{_named(row['corruption'])} breaks the model{'' if tied else ' first'}: at strength {row['strength']} of "
        f"{STRENGTHS[-1]} accuracy falls from {clean['accuracy']:.3f} to {row['accuracy']:.3f}, by {row['drop']:.3f} "
        f"({low:.3f} to {high:.3f}), on the same {images:,} images"
    )
    if tied:
        others = ", ".join(tied[:MOST_TIED]) + (f" and {len(tied) - MOST_TIED:,} more" if len(tied) > MOST_TIED else "")
        sentence += f"; whether {others} break{'s' if len(tied) == 1 else ''} it as early cannot be told"
    return sentence


def _named(corruption: str) -> str:
    return f"{CORRUPTIONS[corruption].about} ({corruption})" if corruption in CORRUPTIONS else corruption


def _spoilt(pool: ThreadPoolExecutor, images: Images, family: Corruption, strength: int, at: Draws) -> Images:
    def part(start: int) -> Images:
        rows = np.arange(start, min(start + AT_ONCE, len(images)))
        return corrupt(images[rows], family.name, strength, at.only(rows))

    return np.concatenate(list(pool.map(part, range(0, len(images), AT_ONCE))))


def _row(
    name: str,
    strength: int,
    right_N: NDArray[np.bool_],
    groups_N: Groups,
    *,
    drop: Difference | None = None,
    broken: bool = False,
    tied: bool = False,
) -> dict[str, Any]:
    several = count_groups(len(right_N), groups_N) > 1
    return {
        "corruption": name,
        "strength": strength,
        "images": len(right_N),
        "accuracy": float(right_N.mean()),
        "accuracy_interval": list(share_interval(right_N, groups_N)) if several else None,
        "drop": None if drop is None else drop.mean,
        "drop_interval": list(drop.interval) if several and drop is not None else None,
        "broken": broken,
        "tied": tied,
    }
