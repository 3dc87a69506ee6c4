"""Shortcuts: whether something that should not matter tells the class: the border, the mean colour, the file's size.

A model learns whatever tells the class. What stands on one class's pictures alone, a frame or a stamp, it learns instead of the
thing on them, and fails where that is missing. Each cue alone is given to a head, and judged on images that it
did not see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.finding import Finding, Severity
from sortal.health.head import Floats, out_of_fold

TOLD, CERTAIN = 0.7, 0.9
"""How well a class is told by a cue alone (see `strength`), with the lower end of its 95% interval, before it is a warning, and
before it is severe. Cues tell something in every honest set: the sky is behind aeroplanes. On the photographs of ants and bees
none is above 0.32 (mean colour), on 5,000 pictures of CIFAR-10 none above 0.40 (ships, by the border)."""
MAY_BE_SHOWN = ("the mean colour",)
"""Cues that may well be what is to be told: ripe tomatoes are red. They are a warning at most."""
MOST = 12_000
"""Images that are looked at; the interval is narrow enough with so many."""
WAVES = 192
"""Random cosines of a cue's numbers, so that a narrow range of values can be told, not only a large from a small."""
SMALLEST = 20
"""Images of a class below which nothing is said of it."""
DRAWS = 400


@dataclass(frozen=True, slots=True)
class Strength:
    """How well one cue alone tells one class.

    Attributes:
        f1: of naming that class, on images that were held out.
        chance: the same after the labels were shuffled.
        strength: the part of the way from chance to certainty: 0 to 1, below 0 for worse than chance.
        interval: its 95% interval, over images.
    """

    cue: str
    label: int
    f1: float
    chance: float
    strength: float
    interval: tuple[float, float]


def shortcuts(
    cues: Mapping[str, Floats],
    sources: Sequence[str],
    classes: Sequence[str],
    labels_N: NDArray[np.int64],
    units_N: NDArray[np.int64],
) -> list[Finding]:
    """One finding for each cue that tells a class nearly alone.

    Args:
        cues: by name, numbers of shape (N, D) each; one that is the same for all images tells nothing.
        units_N: what must stay together, since the copy of a picture would tell its class.
    """
    found = []
    for cue, inputs_ND in cues.items():
        strongest = [each for each in strengths(cue, inputs_ND, labels_N, units_N, len(classes)) if each.interval[0] >= TOLD]
        if strongest:
            found.append(_told(strongest, sources, classes, labels_N))
    return found


def strengths(
    cue: str, inputs_ND: Floats, labels_N: NDArray[np.int64], units_N: NDArray[np.int64], classes: int, *, seed: int = 0
) -> list[Strength]:
    """How well a cue tells each class of `SMALLEST` images or more, the best first."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(labels_N))[:MOST])
    inputs_ND, labels_N, units_N = inputs_ND[rows], labels_N[rows], units_N[rows]
    counts_K = np.bincount(labels_N, minlength=classes)
    if (inputs_ND == inputs_ND[:1]).all() or (counts_K > 0).sum() < 2 or len(np.unique(units_N)) < SMALLEST:
        return []
    waves_ND = _waves(inputs_ND, seed)
    named_N = out_of_fold(waves_ND, labels_N, classes, units_N, seed=seed).argmax(axis=1)
    shuffled_N = np.random.default_rng(seed).permutation(labels_N)
    by_chance_N = out_of_fold(waves_ND, shuffled_N, classes, units_N, seed=seed).argmax(axis=1)
    found = []
    for label in np.flatnonzero(counts_K >= SMALLEST).tolist():
        outcomes = _outcomes(named_N == label, labels_N == label)
        f1, chance = _f1(outcomes), _f1(_outcomes(by_chance_N == label, shuffled_N == label))
        drawn = np.random.default_rng(seed).multinomial(len(rows), outcomes / len(rows), size=DRAWS)
        low, high = np.percentile([_strength(_f1(each), chance) for each in drawn], (2.5, 97.5))
        found.append(Strength(cue, label, f1, chance, _strength(f1, chance), (float(low), float(high))))
    return sorted(found, key=lambda each: -each.strength)


def _told(
    strongest: Sequence[Strength], sources: Sequence[str], classes: Sequence[str], labels_N: NDArray[np.int64]
) -> Finding:
    first = strongest[0]
    low, high = first.interval
    severity: Severity = "severe" if low >= CERTAIN and first.cue not in MAY_BE_SHOWN else "warning"
    others = [classes[each.label] for each in strongest[1:]]
    also = f"; also {', '.join(others[:4])}{f' and {len(others) - 4:,} more' if len(others) > 4 else ''}" if others else ""
    return Finding(
        kind="shortcut",
        severity=severity,
        images=tuple(sources[row] for row in np.flatnonzero(labels_N == first.label)[:3]),
        detail=f"{first.cue} alone tells {classes[first.label]}: F1 {first.f1:.2f} on images held out, {first.chance:.2f} "
        f"with shuffled labels; {first.strength:.2f} of the way to certainty (95% interval {low:.2f} to {high:.2f}){also}",
        cure="a model will learn that instead of what is shown: make all classes alike in it (cut frames off, mix sources, "
        "save all files the same way), or test on images where it is absent",
    )


def _waves(inputs_ND: Floats, seed: int) -> Floats:
    """The numbers, scaled, and random cosines of them (Rahimi and Recht 2007), in two widths."""
    spread_D = inputs_ND.std(axis=0)
    scaled_ND = np.clip((inputs_ND - inputs_ND.mean(axis=0)) / np.where(spread_D > 0, spread_D, 1), -4, 4)
    random = np.random.default_rng(seed)
    width = 1 / np.sqrt(scaled_ND.shape[1])
    turns_DW = random.normal(size=(scaled_ND.shape[1], WAVES)) * np.where(np.arange(WAVES) % 2, width, 3 * width)
    waves_NW = np.cos(scaled_ND @ turns_DW + random.uniform(0, 2 * np.pi, WAVES)) * np.sqrt(2)
    return np.concatenate([scaled_ND, waves_NW], axis=1).astype(np.float32)


def _outcomes(named_N: NDArray[np.bool_], is_N: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often: rightly named, wrongly named, missed, rightly not named."""
    return np.array([(named_N & is_N).sum(), (named_N & ~is_N).sum(), (~named_N & is_N).sum(), (~named_N & ~is_N).sum()])


def _f1(outcomes: NDArray[np.int64]) -> float:
    right, wrong, missed, _ = outcomes.tolist()
    return float(2 * right / max(1, 2 * right + wrong + missed))


def _strength(f1: float, chance: float) -> float:
    return (f1 - chance) / max(1e-9, 1.0 - chance)
