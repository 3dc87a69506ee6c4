"""Decisions: from the probabilities of a bundle to what is said, a label or nothing; the one place where that is done.

Used by whatever answers: `predict`, `serve`, exports. It needs NumPy alone, so that nothing else has to be there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ABSTAINED = -1
"""Where a class index would stand: the model does not say."""
QUANTILES = 101

Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """When an answer is given, and which one. Without arguments: always, the likeliest class.

    Attributes:
        threshold: an answer is given where its probability reaches this, 0..1.
        costs_KK: what it costs to say a class (column) where another (row) is true; the class whose expected cost is lowest is
            said (Elkan 2001). Empty: the likeliest class.
        abstain_cost: what it costs to say nothing; nothing is said where every class would be expected to cost more (Chow
            1970). None: a class is always said.
        novelty: nothing is said of an image that is more novel than this share of the familiar ones (`Novelty.shares`).
    """

    threshold: float = 0.0
    costs_KK: tuple[tuple[float, ...], ...] = ()
    abstain_cost: float | None = None
    novelty: float = 1.0

    @property
    def always_the_likeliest(self) -> bool:
        """Whether this is no rule at all."""
        return self == ALWAYS_THE_LIKELIEST

    def indices(self, probs_NK: Probabilities, shares_N: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
        """The class that is said of each image, int64 of shape (N,); `ABSTAINED` where none is.

        `shares_N` are the images' novelty; without it nothing counts as novel. Of equals the first class is said.

        >>> DecisionRule(threshold=0.8).indices(np.array([[0.9, 0.1], [0.4, 0.6]])).tolist()
        [0, -1]
        """
        probs_NK = np.asarray(probs_NK, dtype=np.float64)
        said_N = self.preferred(probs_NK)
        silent_N = np.zeros(len(said_N), dtype=bool)
        if self.costs_KK and self.abstain_cost is not None:
            silent_N = (probs_NK @ np.array(self.costs_KK)).min(axis=1) > self.abstain_cost
        silent_N |= np.take_along_axis(probs_NK, said_N[:, None], axis=1)[:, 0] < self.threshold
        if shares_N is not None:
            silent_N |= np.asarray(shares_N) > self.novelty
        return np.where(silent_N, ABSTAINED, said_N).astype(np.int64)

    def preferred(self, probs_NK: Probabilities) -> NDArray[np.int64]:
        """The class that is said of each image, or would be where nothing is, int64 of shape (N,): that of the lowest expected
        cost, without costs the likeliest.

        >>> DecisionRule(costs_KK=((0, 1), (9, 0)), abstain_cost=0.1).preferred(np.array([[0.8, 0.2]])).tolist()
        [1]
        """
        probs_NK = np.asarray(probs_NK, dtype=np.float64)
        loss_NK = probs_NK @ np.array(self.costs_KK, dtype=np.float64) if self.costs_KK else -probs_NK
        best_N: NDArray[np.int64] = loss_NK.argmin(axis=1)
        return best_N

    def labels(
        self, probs_NK: Probabilities, classes: Sequence[str], shares_N: NDArray[np.float64] | None = None
    ) -> list[str | None]:
        """As `indices`, by name: None where nothing is said."""
        return [None if index == ABSTAINED else classes[index] for index in self.indices(probs_NK, shares_N)]

    def to_json(self) -> dict[str, Any]:
        """As it stands in `bundle.json`."""
        return {
            "threshold": self.threshold,
            "costs": [list(row) for row in self.costs_KK],
            "abstain_cost": self.abstain_cost,
            "novelty": self.novelty,
        }

    @classmethod
    def parse(cls, value: Any, *, classes: int) -> Self:
        """From `bundle.json`; raises `ValueError` for anything that `to_json` would not have written."""
        found = _keys("decision", value, {"threshold", "costs", "abstain_cost", "novelty"})
        rows = found["costs"]
        if not isinstance(rows, list) or len(rows) not in (0, classes):
            raise ValueError(f"decision.costs must have a row for each of {classes} classes, or none")
        if not all(isinstance(row, list) and len(row) == classes for row in rows):
            raise ValueError(f"decision.costs must have {classes} numbers in each row")
        cost = found["abstain_cost"]
        if cost is not None and not rows:
            raise ValueError("decision.abstain_cost is compared with costs, and there are none")
        return cls(
            threshold=_number("decision.threshold", found["threshold"], 1.0),
            costs_KK=tuple(tuple(_number("decision.costs", each, 1e12) for each in row) for row in rows),
            abstain_cost=None if cost is None else _number("decision.abstain_cost", cost, 1e12),
            novelty=_number("decision.novelty", found["novelty"], 1.0),
        )


ALWAYS_THE_LIKELIEST = DecisionRule()


@dataclass(frozen=True, slots=True)
class Conformal:
    """Sets of classes that hold the true one with a wanted frequency (split conformal prediction, Vovk et al. 2005; least
    ambiguous sets, Sadinle, Lei and Wasserman 2019).

    Attributes:
        level: how often the true class is in the set, of new images like the held-out ones; where those come in groups (a
            patient, a scene), of an image of a new group.
        threshold: a class is in the set where its probability reaches this.
        images: held-out images that the threshold was taken from.
        groups: how many groups these are of; None where each stands alone.
    """

    level: float
    threshold: float
    images: int
    groups: int | None = None

    def sets(self, probs_NK: Probabilities, classes: Sequence[str]) -> list[list[str]]:
        """The classes of each image's set, the likeliest first. A set may be empty: where the model is right more often than
        `level`, some must be wrong.
        """
        probs_NK = np.asarray(probs_NK, dtype=np.float64)
        orders_NK = np.argsort(-probs_NK, axis=1, kind="stable")
        return [
            [classes[k] for k in order_K if probs_K[k] >= self.threshold]
            for probs_K, order_K in zip(probs_NK, orders_NK, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """As it stands in `bundle.json`."""
        plain = {"level": self.level, "threshold": self.threshold, "images": self.images}
        return plain if self.groups is None else plain | {"groups": self.groups}

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From `bundle.json`; raises `ValueError`."""
        grouped = {"groups"} if isinstance(value, dict) and "groups" in value else set()
        found = _keys("conformal", value, {"level", "threshold", "images"} | grouped)
        groups = found.get("groups")
        if grouped and (type(groups) is not int or groups < 1):
            raise ValueError(f"conformal.groups must be a whole number above zero, got {str(groups)[:200]}")
        if type(found["images"]) is not int or found["images"] < 1:
            raise ValueError(f"conformal.images must be a whole number above zero, got {str(found['images'])[:200]}")
        level = _number("conformal.level", found["level"], 1.0)
        return cls(level, _number("conformal.threshold", found["threshold"], 1.0), found["images"], groups)


@dataclass(frozen=True, slots=True)
class Novelty:
    """How unlike the familiar images an image is: where its distance stands among theirs.

    Attributes:
        distances_Q: distances of the familiar images at their 0, 1, ... 100 percent quantiles, rising; the graph's output
            `novelty` is such a distance.
        neighbours: the distance is that to the so-manieth nearest of the images that are remembered.
        images: how many are remembered.
    """

    distances_Q: tuple[float, ...]
    neighbours: int
    images: int

    def shares(self, distances_N: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The share of the familiar images that are nearer, 0..1, shape (N,): 1 is beyond them all."""
        return np.interp(np.asarray(distances_N, dtype=np.float64), self.distances_Q, np.linspace(0.0, 1.0, QUANTILES))

    def to_json(self) -> dict[str, Any]:
        """As it stands in `bundle.json`."""
        return {"distances": list(self.distances_Q), "neighbours": self.neighbours, "images": self.images}

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From `bundle.json`; raises `ValueError`."""
        found = _keys("novelty", value, {"distances", "neighbours", "images"})
        distances = found["distances"]
        if not isinstance(distances, list) or len(distances) != QUANTILES:
            raise ValueError(f"novelty.distances must be {QUANTILES} numbers")
        distances_Q = tuple(_number("novelty.distances", each, 1e12) for each in distances)
        if list(distances_Q) != sorted(distances_Q):
            raise ValueError("novelty.distances must rise")
        counts = [found["neighbours"], found["images"]]
        if any(type(count) is not int or count < 1 for count in counts) or counts[0] > counts[1]:
            raise ValueError("novelty.neighbours and novelty.images must be whole numbers, the first no larger than the other")
        return cls(distances_Q, *counts)


def _keys(name: str, value: Any, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise ValueError(f"{name} must have the keys {', '.join(sorted(keys))}")
    return value


def _number(name: str, value: Any, largest: float) -> float:
    if type(value) not in (int, float) or not 0 <= value <= largest or not math.isfinite(value):
        raise ValueError(f"{name} must be a number from 0 to {largest:g}, got {str(value)[:200]}")
    return float(value)
