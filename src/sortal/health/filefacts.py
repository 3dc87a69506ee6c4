"""File facts: whether what a file says of itself tells the class, before anyone has looked at the picture.

Where one class was photographed with another camera, on other days, or was saved by another program, each of its pictures bears
the marks of that, and a model learns them. Each fact alone, and all together, are asked which class an image has; only answers
about images that were held out count, in balanced accuracy, and only what hundreds of shuffles of the labels do not reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.codes import Codes, Value, coded_values
from sortal.health.finding import Finding, Severity
from sortal.health.head import FOLDS, Floats, folds_of

TOLD, CERTAIN = 0.75, 0.95
"""Balanced accuracy of telling one class from the others, with the lower end of its 95% interval, from which on it is a
warning, and severe; chance is 0.5. Honest sets have some: of the photographs of ants and bees the JPEG tables have 0.57, all
facts together 0.60, where the best of 200 shuffles has 0.59."""
MOST = 12_000
"""Images that are looked at."""
SMALLEST = 20
"""Images of a class below which nothing is said of it."""
DRAWS, SHUFFLES, FEWEST_SHUFFLES = 400, 200, 100
WORK = 4e8
"""Images times classes times facts times shuffles: with a hundred classes and more there are fewer shuffles."""
LUCK = 0.01
"""Share of the shuffles that may reach as much, by any fact of any class."""
TOGETHER = "all that the files say together"


@dataclass(frozen=True, slots=True)
class Kin:
    """Facts of one origin, and so of one cure."""

    facts: tuple[str, ...]
    cure: str
    may_be_shown: bool = False
    """Whether they may well come from what is to be told: night has long exposures. Then they are a warning at most."""


KIN = (
    Kin(("camera",), "photograph every class with every camera, or test on images of a camera that was not trained on"),
    Kin(
        ("JPEG tables", "chroma subsampling", "colour profile", "resolution", "format", "ending", "software"),
        "save the files of all classes the same way, from their originals: one program, one format, one quality; or test on "
        "images from elsewhere",
    ),
    Kin(("orientation",), "hold the camera alike for all classes, or cut all pictures to one shape"),
    Kin(
        ("exposure time", "f-number", "ISO", "focal length", "flash"),
        "photograph all classes in the same light with the same settings, unless the difference belongs to what is to be told",
        may_be_shown=True,
    ),
    Kin(
        ("date", "place"),
        "photograph every class on all days and at all places, and give each day or place as a group, so that it stands on one "
        "side of every split",
        may_be_shown=True,
    ),
)
"""All facts that are asked."""
FACTS = tuple(name for kin in KIN for name in kin.facts)


@dataclass(frozen=True, slots=True)
class Telling:
    """How well one fact tells one class from all others.

    Attributes:
        accuracy: balanced, on images that were held out: the mean of the shares of the class and of the others that were
            rightly told. Chance is 0.5.
        interval: its 95% interval, over units.
        right_N: the rows of the class that were rightly told.
    """

    fact: str
    label: int
    accuracy: float
    interval: tuple[float, float]
    right_N: NDArray[np.int64]


def filefacts(
    said: Mapping[str, Sequence[Value | None]],
    sources: Sequence[str],
    classes: Sequence[str],
    labels_N: NDArray[np.int64],
    units_N: NDArray[np.int64],
) -> list[Finding]:
    """One finding for each kin of facts that tells a class nearly alone; where none does, one if all together do.

    Args:
        said: by fact (`FACTS`), what the file of each of N images says; None where it says nothing, which tells something too.
        units_N: what must stay together, since the copy of a picture would tell its class.

    Raises `ValueError` for a fact that belongs to no kin.
    """
    if unknown := set(said) - set(FACTS):
        raise ValueError(f"facts of no kin: {sorted(unknown)}")
    rows = np.sort(np.random.default_rng(0).permutation(len(labels_N))[:MOST])
    y_M = labels_N[rows]
    unit_M = np.unique(units_N[rows], return_inverse=True)[1]
    if len(rows) < SMALLEST or unit_M.max() < 1:
        return []
    coded = {
        name: coded_values([values[row] for row in rows.tolist()], _day if name == "date" else "{:g}".format)
        for name, values in said.items()
    }
    coded = {name: each for name, each in coded.items() if len(each.names) > 1}
    if not coded:
        return []
    asked = {**{name: [each] for name, each in coded.items()}, **({TOGETHER: list(coded.values())} if len(coded) > 1 else {})}
    fold_M, weights_DM = folds_of(unit_M), _weights(unit_M)
    found = {name: tellings(name, facts, y_M, fold_M, weights_DM, len(classes)) for name, facts in asked.items()}
    told = {name: strong for name, each in found.items() if (strong := [one for one in each if one.interval[0] >= TOLD])}
    if not told:
        return []
    by_luck = luck(list(asked.values()), y_M, unit_M, len(classes))
    told = {name: sure for name, each in told.items() if (sure := [one for one in each if _beyond(one, by_luck)])}
    findings = []
    for kin in KIN:
        strongest = sorted(
            (each for name in kin.facts for each in told.get(name, ())), key=lambda each: (-each.accuracy, each.fact)
        )
        if strongest:
            findings.append(_told(strongest, coded, kin.cure, kin.may_be_shown, rows, sources, classes, y_M, by_luck))
    if not findings and TOGETHER in told:
        cure = "take and save the images of all classes the same way, or test on images from elsewhere"
        findings.append(_told(told[TOGETHER], coded, cure, False, rows, sources, classes, y_M, by_luck))
    return findings


def tellings(
    fact: str, facts: Sequence[Codes], labels_N: NDArray[np.int64], folds_N: NDArray[np.int64], weights_DN: Floats, classes: int
) -> list[Telling]:
    """Which classes of `SMALLEST` images or more some facts together tell by `TOLD` or more, the best first.

    Of two classes the one is told as well as the other, so there is at most one telling. `weights_DN` are draws of a bootstrap.
    """
    named_N = named(facts, labels_N, folds_N, classes)
    accuracy_K = balanced(named_N, labels_N, classes)
    found = []
    for label in _large(labels_N, classes):
        if accuracy_K[label] < TOLD:
            continue
        is_N = labels_N == label
        right_N = ((named_N == label) == is_N).astype(np.float32)
        mine_DM, mine = weights_DN[:, is_N], right_N[is_N]
        drawn_D, right_D = mine_DM.sum(axis=1), mine_DM @ mine
        others_D, right_others_D = weights_DN.sum(axis=1) - drawn_D, weights_DN @ right_N - right_D
        shares_D = (right_D / np.maximum(drawn_D, 1) + right_others_D / np.maximum(others_D, 1)) / 2
        # A draw without the class says nothing of it.
        low, high = np.percentile(shares_D[(drawn_D > 0) & (others_D > 0)], (2.5, 97.5))
        found.append(
            Telling(fact, label, float(accuracy_K[label]), (float(low), float(high)), np.flatnonzero(is_N & (right_N > 0)))
        )
    return sorted(found, key=lambda each: -each.accuracy)[: 1 if classes == 2 else None]


def named(facts: Sequence[Codes], labels_N: NDArray[np.int64], folds_N: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The class that each image would have by its facts alone, as counted in the other folds; all classes equally likely.

    It is naive Bayes: a fact speaks for a class by the share of its images that have it, shifted by one image of all classes.
    """
    scores_NK = np.zeros((len(labels_N), classes), np.float32)
    for fact in facts:
        codes_N, values = fact.codes_N, len(fact.names)
        which_N = (folds_N * values + codes_N) * classes + labels_N
        counts_FVK = np.bincount(which_N, minlength=FOLDS * values * classes).reshape(FOLDS, values, classes)
        learnt_FVK = counts_FVK.sum(axis=0) - counts_FVK
        of_all_FV1 = learnt_FVK.sum(axis=2, keepdims=True) + 1 / values
        of_all_FV1 = of_all_FV1 / of_all_FV1.sum(axis=1, keepdims=True)
        shares_FVK = (learnt_FVK + of_all_FV1) / (learnt_FVK.sum(axis=1, keepdims=True) + 1)
        scores_NK += np.log(shares_FVK).astype(np.float32)[folds_N, codes_N]
    best_N: NDArray[np.int64] = scores_NK.argmax(axis=1)
    return best_N


def luck(
    asked: Sequence[Sequence[Codes]], labels_N: NDArray[np.int64], units_N: NDArray[np.int64], classes: int, *, seed: int = 0
) -> NDArray[np.float64]:
    """The best balanced accuracy by any of the facts for any class, once for each shuffle of the labels among units.

    Whatever is told of many facts and classes is the best of many, so it is compared with the best of many (Westfall and Young
    1993); and images of one unit keep one label, as they have.
    """
    random = np.random.default_rng(seed)
    folds_N = folds_of(units_N, seed=seed)
    label_U = np.zeros(units_N.max() + 1, np.int64)
    label_U[units_N] = labels_N
    work = len(labels_N) * classes * sum(len(facts) for facts in asked)
    best = []
    for _ in range(int(np.clip(WORK // work, FEWEST_SHUFFLES, SHUFFLES))):
        shuffled_N = random.permutation(label_U)[units_N]
        large = _large(shuffled_N, classes)
        accuracies = [balanced(named(facts, shuffled_N, folds_N, classes), shuffled_N, classes)[large] for facts in asked]
        best.append(max(float(each.max(initial=0.5)) for each in accuracies))
    return np.array(best)


def balanced(named_N: NDArray[np.int64], labels_N: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Of telling each class from all others, shape (K,)."""
    of_K = np.bincount(labels_N, minlength=classes)
    right_K = np.bincount(labels_N[named_N == labels_N], minlength=classes)
    wrongly_K = np.bincount(named_N, minlength=classes) - right_K
    others_K = len(labels_N) - of_K
    balanced_K: NDArray[np.float64] = (right_K / np.maximum(of_K, 1) + 1 - wrongly_K / np.maximum(others_K, 1)) / 2
    return balanced_K


def _large(labels_N: NDArray[np.int64], classes: int) -> list[int]:
    counts_K = np.bincount(labels_N, minlength=classes)
    return [int(label) for label in np.flatnonzero((counts_K >= SMALLEST) & (counts_K < len(labels_N)))]


def _weights(units_N: NDArray[np.int64]) -> Floats:
    """How often each row is drawn when units are drawn with replacement, shape (DRAWS, N): images of one group are no witnesses
    for each other."""
    units = int(units_N.max()) + 1
    random = np.random.default_rng(0)
    drawn_DU = np.stack([np.bincount(random.integers(0, units, units), minlength=units) for _ in range(DRAWS)])
    return drawn_DU.astype(np.float32)[:, units_N]


def _day(number: float) -> str:
    return str(np.datetime64(round(number), "D"))


def _beyond(telling: Telling, by_luck: NDArray[np.float64]) -> bool:
    return bool((by_luck >= telling.accuracy).mean() <= LUCK)


def _told(
    strongest: Sequence[Telling], coded: Mapping[str, Codes], cure: str, may_be_shown: bool, rows: NDArray[np.int64],
    sources: Sequence[str], classes: Sequence[str], labels_N: NDArray[np.int64], by_luck: NDArray[np.float64],
) -> Finding:  # fmt: skip
    first = strongest[0]
    low, high = first.interval
    severity: Severity = "severe" if low >= CERTAIN and not may_be_shown else "warning"
    name = classes[first.label]
    examples, value = first.right_N, ""
    if first.fact in coded:
        codes_N, names = coded[first.fact].codes_N, coded[first.fact].names
        code = int(np.bincount(codes_N[first.right_N]).argmax())
        examples = first.right_N[codes_N[first.right_N] == code]
        has_N, is_N = codes_N == code, labels_N == first.label
        value = f" ({names[code]}: on {has_N[is_N].mean():.0%} of {name}, on {has_N[~is_N].mean():.0%} of the others)"
    others = [f"{each.fact} ({classes[each.label]}, {each.accuracy:.2f})" for each in strongest[1:]]
    more = f" and {len(others) - 4:,} more" if len(others) > 4 else ""
    also = f"; also {', '.join(others[:4])}{more}" if others else ""
    alone = first.fact if first.fact == TOGETHER else f"the file's {first.fact} alone"
    return Finding(
        kind="shortcut",
        severity=severity,
        images=tuple(sources[rows[row]] for row in examples[:3].tolist()),
        detail=f"{alone} tell{'' if first.fact == TOGETHER else 's'} {name}{value}: balanced accuracy {first.accuracy:.2f} on "
        f"images held out (95% interval {low:.2f} to {high:.2f}; chance 0.50, the best of {len(by_luck)} shuffles of the "
        f"labels {by_luck.max():.2f}){also}",
        cure=f"a model will learn that instead of what is shown: {cure}",
    )
