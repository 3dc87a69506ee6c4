"""Slices: accuracy on parts of the images, by their size, shape and brightness and by whatever a table says of them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.intervals import told_share, within

PARTS = 3
"""Parts of about equal number that numbers are divided into."""
MOST_VALUES = 12
"""Different words of a column, beyond which the rarest are put together; of numbers, beyond which they are divided."""
OTHERS = "all others"

Numbers = NDArray[np.float64]


def slices(
    right_N: NDArray[np.bool_],
    numbers: Mapping[str, Numbers],
    words: Mapping[str, Sequence[str | None]],
    groups_N: NDArray[np.int64] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `by`, `value`, `images`, `accuracy`, `accuracy_interval` (95%; None where all of a part are of one group), for
    whatever divides N images into parts.

    Args:
        right_N: whether each image was sorted correctly.
        numbers: name to a number for each image, NaN where unknown; divided into thirds.
        words: name to a word for each image, None where unknown; a column of many different numbers is divided into thirds.
        groups_N: images that belong together, which widens the intervals.
    """
    parts = [(by, _thirds(values_N)) for by, values_N in numbers.items()]
    parts += [(by, _by_word(values)) for by, values in words.items()]
    rows = []
    for by, named in parts:
        found = {value: inside_N for value, inside_N in named.items() if inside_N.any()}
        if len(found) < 2:  # then it divides nothing
            continue
        for value, inside_N in found.items():
            interval = told_share(right_N[inside_N], within(groups_N, inside_N))
            images = int(inside_N.sum())
            accuracy = float(right_N[inside_N].mean())
            rows.append({"by": by, "value": value, "images": images, "accuracy": accuracy, "accuracy_interval": interval})
    return rows


def shape_facts(width_N: Sequence[int | None], height_N: Sequence[int | None]) -> tuple[dict[str, Numbers], list[str | None]]:
    """Of sizes in pixels: the shorter side as a number, and whether an image is upright, square or wide as a word."""
    width, height = (np.array([np.nan if each is None else each for each in values], float) for values in (width_N, height_N))
    ratio_N = width / height
    names = [None if np.isnan(ratio) else _shape(float(ratio)) for ratio in ratio_N]
    return {"shorter side": np.minimum(width, height)}, names


def _shape(ratio: float) -> str:
    return "upright" if ratio < 1 / 1.1 else "wide" if ratio > 1.1 else "about square"


def _thirds(values_N: Numbers) -> dict[str, NDArray[np.bool_]]:
    known_N = np.isfinite(values_N)
    if not known_N.any():
        return {}
    cuts = np.quantile(values_N[known_N], np.arange(1, PARTS) / PARTS)
    cuts = np.unique(cuts[(cuts > values_N[known_N].min()) & (cuts <= values_N[known_N].max())])
    edges = [-np.inf, *cuts.tolist(), np.inf]
    named: dict[str, NDArray[np.bool_]] = {}
    for low, high in pairwise(edges):
        name = f"below {_told(high)}" if low == -np.inf else f"{_told(low)} and above" if high == np.inf else ""
        named[name or f"{_told(low)} to below {_told(high)}"] = known_N & (values_N >= low) & (values_N < high)
    return named | {"unknown": ~known_N}


def _told(number: float) -> str:
    return f"{number:.4g}" if abs(number) < 1e4 else f"{number:,.0f}"


def _by_word(values: Sequence[str | None]) -> dict[str, NDArray[np.bool_]]:
    different = sorted({value for value in values if value})
    if len(different) > MOST_VALUES and all(map(_is_number, different)):
        return _thirds(np.array([float(value) if value else np.nan for value in values]))
    words_N = np.array([value or "" for value in values], dtype=object)
    counts = {value: int((words_N == value).sum()) for value in different}
    kept = sorted(sorted(different, key=lambda value: -counts[value])[:MOST_VALUES])
    named = {value: np.asarray(words_N == value, dtype=bool) for value in kept}
    rest_N = ~np.isin(words_N.astype(str), [*kept, ""])
    return named | {OTHERS: rest_N, "unknown": np.asarray(words_N == "", dtype=bool)}


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
