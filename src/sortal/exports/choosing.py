"""Choosing among quantised forms of a model: by how far their probabilities are from the model's own, on training images."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
GOOD = 0.001
"""Nats of divergence from which on no slower form is looked for."""
SMALLEST = 1e-7


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to quantise: what it is, the model, and how it runs."""

    told: str
    model: Any
    run: Run


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate that was taken, and what was measured of all of them."""

    candidate: Candidate
    divergences: tuple[tuple[str, float], ...]
    images: int

    def to_json(self) -> dict[str, Any]:
        tried = [{"form": told, "divergence": value} for told, value in self.divergences]
        return {"form": self.candidate.told, "tried": tried, "images": self.images}


def halves(images_NSSC: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images to calibrate with, and others to choose with: what a form was fitted to says little about it."""
    return images_NSSC[::2], images_NSSC[1::2] if len(images_NSSC) > 1 else images_NSSC


def best(candidates: Iterable[Candidate], source: Run, images_NSSC: NDArray[np.uint8], *, least: int = 1) -> Choice:
    """The nearest candidate to the source. Of the `least` first all are tried; of later ones none once one is within `GOOD`."""
    source_NK = source(images_NSSC)
    found: list[tuple[float, Candidate]] = []
    for candidate in candidates:
        found.append((divergence(candidate.run(images_NSSC), source_NK), candidate))
        if len(found) >= least and min(value for value, _ in found) <= GOOD:
            break
    _, chosen = min(found, key=lambda pair: pair[0])
    return Choice(chosen, tuple((each.told, value) for value, each in found), len(images_NSSC))


def divergence(probs_NK: NDArray[np.float32], source_NK: NDArray[np.float32]) -> float:
    """Mean divergence of Kullback and Leibler in nats, of each label from its source: 0 for equal ones, inf for no numbers.

    Each class counts as a question of its own, so that several labels an image are measured as one is.

    >>> divergence(np.array([[0.5, 0.5]], np.float32), np.array([[0.5, 0.5]], np.float32))
    0.0
    """
    if not np.isfinite(probs_NK).all():
        return float("inf")
    p = np.clip(source_NK.astype(np.float64), SMALLEST, 1 - SMALLEST)
    q = np.clip(probs_NK.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=1).mean())
