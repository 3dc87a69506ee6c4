"""What was said of the validation images, as counts: what a server later compares its answers with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True, slots=True)
class Reference:
    """Counts of answers, by the likeliest class and by its probability."""

    classes_K: tuple[int, ...]
    confidence_B: tuple[int, ...]
    """In `BINS` bins of equal width from 0 to 1."""

    def to_dict(self) -> dict[str, Any]:
        return {"classes": list(self.classes_K), "confidence": list(self.confidence_B)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], classes: int) -> "Reference | None":
        """What `to_dict` gave; None for what is no reference of that many classes."""
        counts = values.get("classes"), values.get("confidence")
        for numbers, length in zip(counts, (classes, BINS), strict=True):
            if not isinstance(numbers, list) or len(numbers) != length:
                return None
            if not all(type(number) is int and 0 <= number < 1 << 53 for number in numbers):
                return None
        return cls(tuple(values["classes"]), tuple(values["confidence"]))


def reference(probs_NK: NDArray[np.floating[Any]]) -> Reference:
    """The counts of probabilities of shape (N, K)."""
    best_N, count = probs_NK.argmax(axis=1), probs_NK.shape[1]
    bins = [confidence_bin(float(row[best])) for row, best in zip(probs_NK, best_N, strict=True)]
    counted = np.bincount(best_N, minlength=count), np.bincount(bins, minlength=BINS)
    return Reference(*(tuple(int(number) for number in numbers) for numbers in counted))


def confidence_bin(probability: float) -> int:
    """The bin, 0 to BINS - 1, that a probability falls into."""
    return min(BINS - 1, max(0, int(probability * BINS)))
