"""Codes: whatever stands in a column, words, numbers or nothing, as a few whole numbers that can be counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.head import Floats

VALUES, PARTS = 50, 16
"""Different values that are kept apart, the commonest; numbers with more are cut into so many parts of equal size."""

Value = str | float | Sequence[float]
"""A word, a number, or numbers that belong together, equally many in all rows."""
Plain = str | tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of N rows as whole numbers, equal where two rows are taken for equal."""

    codes_N: NDArray[np.int64]
    names: tuple[str, ...]
    """What each number stands for."""


def coded_values(values: Sequence[Value | None], spelt: Callable[[float], str] = "{:g}".format) -> Codes:
    """The `VALUES` commonest values, all others as one, nothing as one of its own; numbers of more values cut into `PARTS`.

    `spelt` writes a number for a person.
    """
    plain = [_rounded(value) for value in values]
    if len(set(plain) - {None}) > VALUES:
        plain = _in_parts(plain, spelt)
    counts = Counter(value for value in plain if value is not None)
    # Ties by their text, so that the order of the rows does not matter.
    kept = sorted(counts, key=lambda value: (-counts[value], str(value)))[:VALUES]
    place = {value: number for number, value in enumerate(kept)}
    other, none = len(kept), len(kept) + 1
    raw_N = np.array([none if value is None else place.get(value, other) for value in plain], np.int64)
    there, codes_N = np.unique(raw_N, return_inverse=True)
    words = [value if isinstance(value, str) else ", ".join(map(spelt, value)) for value in kept]
    names = [*words, "another value", "none"]
    return Codes(codes_N, tuple(names[number] for number in there.tolist()))


def one_column_each(values: Sequence[Value | None]) -> Floats:
    """1 where a row has the value, for each that is kept apart, shape (N, V)."""
    coded = coded_values(values)
    return np.asarray(coded.codes_N[:, None] == np.arange(len(coded.names)), dtype=np.float32)


def _rounded(value: Value | None) -> Plain:
    """To four digits: cameras write 1/250 in several ways."""
    if value is None or isinstance(value, str):
        return value
    numbers = [value] if isinstance(value, int | float) else value
    return tuple(float(f"{number:.4g}") if abs(number) < 1_000 else float(round(number)) for number in numbers)


def _in_parts(values: Sequence[Plain], spelt: Callable[[float], str]) -> list[Plain]:
    """Numbers as the range that they lie in, of ranges that hold equally many; of several that belong together a range each."""
    numbers = [value for value in values if isinstance(value, tuple)]
    if not numbers:
        return list(values)
    length = len(numbers[0])
    shares = np.linspace(0, 1, 1 + (PARTS if length == 1 else PARTS // 2))
    edges = [np.unique(np.quantile([value[axis] for value in numbers], shares)) for axis in range(length)]

    def ranged(number: float, edge_P: NDArray[np.float64]) -> str:
        low = int(np.searchsorted(edge_P[1:-1], number, side="right"))
        return f"{spelt(edge_P[low])} to {spelt(edge_P[min(low + 1, len(edge_P) - 1)])}"

    return [", ".join(map(ranged, value, edges)) if isinstance(value, tuple) else value for value in values]
