"""Covering arrays: few rows of options in which every pair of options occurs, so that each is seen beside each other."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

Row = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]


def covering(factors: Mapping[str, Sequence[Any]], allowed: Callable[[Row], bool] = lambda row: True) -> list[Row]:
    """Rows that hold every pair of values of two factors that some allowed row holds; greedy, in a fixed order.

    In the manner of AETG (Cohen, Dalal, Fredman and Patton 1997): each row begins with a pair that is still missing and takes,
    factor by factor, the value that brings most missing pairs and can still be completed.
    """
    names = list(factors)

    def completed(row: Row) -> Row | None:
        """Some allowed row that agrees with this part of one, or None."""
        missing = [name for name in names if name not in row]
        if not missing:
            return row if allowed(row) else None
        return next(
            (done for value in factors[missing[0]] if (done := completed({**row, missing[0]: value})) is not None), None
        )

    wanted = [
        ((one, first), (two, second))
        for one, two in combinations(names, 2)
        for first in factors[one]
        for second in factors[two]
        if completed({one: first, two: second}) is not None
    ]
    rows = []
    while wanted:
        (one, first), (two, second) = wanted[0]
        row: Row = {one: first, two: second}
        for name in names:
            if name in row:
                continue
            able = [value for value in factors[name] if completed({**row, name: value}) is not None]
            row[name] = max(able, key=lambda value: sum(holds({**row, name: value}, pair) for pair in wanted))
        rows.append(row)
        wanted = [pair for pair in wanted if not holds(row, pair)]
    return rows


def holds(row: Row, pair: Pair) -> bool:
    """Whether both values of a pair stand in a row."""
    return all(name in row and row[name] == value for name, value in pair)
