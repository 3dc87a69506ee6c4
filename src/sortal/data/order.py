"""An order of contents for each seed, the same whatever the order of the rows: what splits and folds are assigned by."""

import numpy as np
from numpy.typing import NDArray

NEW = -1
"""The side of a row that has none yet."""


def mixed(keys_U: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Another order of the keys for each seed: SplitMix64 (Steele, Lea and Flood 2014) of key and seed."""

    def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))

    return mix(keys_U ^ mix(np.array([seed], np.uint64)))
