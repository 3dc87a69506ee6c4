"""The parity gate: an export's answers beside the bundle's, on the same labelled images, before the export gets its name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.data.sources import open_source
from sortal.errors import ParityError
from sortal.evaluation.paired import Estimate, difference
from sortal.events import Observer, Progress, ignore
from sortal.exports.kind import FLOAT32, Answers, AnySize, Told
from sortal.exports.rule import Rule
from sortal.manifest import Manifest
from sortal.predictions import right

TOLERANCE = 1e-3
"""Largest difference between a probability, or a distance of novelty, of a float32 export and of the bundle."""
MAX_LOSS = 0.5
"""Points of accuracy that an export of less precision may lose, unless the user says otherwise; and the share of images, in
percent, by which those may grow or shrink of which nothing is said."""
ANY_SIZE_TOLERANCE, COARSE_TOLERANCE, FILES = 0.05, 0.2, 256
"""Of probabilities of the form for any size, in float32 and with less precision, where a pixel that is one step brighter may
move what is rounded all the way up; and the files that it is tried on, at most."""
SECONDS, ROUNDS = 1.5, 9
"""Speed is measured for so long, or in so many rounds."""
NAMED = 5
"""Classes that an error names; the table has them all."""

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Speed:
    """Images a second."""

    export: float
    source: float


@dataclass(frozen=True, slots=True)
class Parity:
    """What was measured of an export beside its source, the bundle's own graph."""

    split: str
    images: int
    max_difference: float
    novelty_difference: float | None
    """Between distances to familiar images; None where the bundle does not measure them."""
    flips: int
    """Images of which the two say different labels after the bundle's decision, one of them perhaps none; in float32 those only
    of which the bundle is sure by the tolerance."""
    silent: int
    """Images of which the export says nothing, by the bundle's decision."""
    silent_source: int
    accuracy: float | None
    accuracy_source: float | None
    change: Estimate | None
    """Of accuracy, with its paired 95% interval; None where no label is known."""
    speed: Speed
    bytes: int
    bytes_source: int
    tolerance: float | None
    """Of probabilities; None where accuracy decides."""
    max_loss: float | None
    """Points of accuracy that may be lost; None where probabilities decide."""
    classes: Sequence[Mapping[str, Any]]
    """A row a class: its images, and how many each of the two got right."""

    def to_json(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "images": self.images,
            "max_difference": self.max_difference,
            "novelty_difference": self.novelty_difference,
            "flips": self.flips,
            "silent": self.silent,
            "silent_source": self.silent_source,
            "accuracy": self.accuracy,
            "accuracy_source": self.accuracy_source,
            "accuracy_change": None if self.change is None else self.change.to_json(),
            "images_per_second": round(self.speed.export, 1),
            "images_per_second_source": round(self.speed.source, 1),
            "bytes": self.bytes,
            "bytes_source": self.bytes_source,
            "tolerance": self.tolerance,
            "max_loss": self.max_loss,
            "classes": list(self.classes),
        }


def judge(
    told: Told,
    source: Told,
    labels: Labels,
    *,
    rule: Rule,
    classes: Sequence[str],
    precision: str,
    max_loss: float,
    split: str,
    speed: Speed,
    sizes: tuple[int, int],
) -> Parity:
    """The table of N images: what the export and the bundle tell of them, and labels, `UNKNOWN` where not known.

    Accuracy is that of the likeliest class, or of the labels that reach their thresholds, as everywhere.
    """
    exact = precision == FLOAT32
    known_N = rule.task.known(labels)
    right_N, right_source_N = (right(each.probs_NK, labels, rule.said(each))[known_N] for each in (told, source))
    measured = bool(known_N.any())
    return Parity(
        split=split,
        images=len(source.probs_NK),
        max_difference=_apart(told.probs_NK, source.probs_NK),
        novelty_difference=None if rule.novelty is None else _apart(told.distances_N, source.distances_N),
        flips=rule.flips(told, source, TOLERANCE if exact else 0.0),
        silent=rule.silent(told),
        silent_source=rule.silent(source),
        accuracy=float(right_N.mean()) if measured else None,
        accuracy_source=float(right_source_N.mean()) if measured else None,
        change=difference(right_N[None], right_source_N[None]) if measured else None,
        speed=speed,
        bytes=sizes[0],
        bytes_source=sizes[1],
        tolerance=TOLERANCE if exact else None,
        max_loss=None if exact else max_loss,
        classes=_by_class(labels[known_N], right_N, right_source_N, classes),
    )


def _apart(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    """The largest difference; infinite where one of them is not told."""
    if one is None or other is None:
        return float("inf")
    with np.errstate(invalid="ignore"):  # a NaN is found by the gate
        return float(np.abs(one - other).max())


def require(parity: Parity, what: str) -> None:
    """Raise `ParityError` for an export that may not be given out, naming the classes that suffered."""
    if not np.isfinite(parity.max_difference):
        raise ParityError(f"{what} gives probabilities that are no numbers", hint=NOTHING_LEFT)
    strange = parity.novelty_difference or 0.0
    if not np.isfinite(strange):
        raise ParityError(f"{what} does not tell how novel an image is, and the bundle does", hint=NOTHING_LEFT)
    if parity.tolerance is not None and (max(parity.max_difference, strange) > parity.tolerance or parity.flips):
        novelty = "" if parity.novelty_difference is None else f"novelty by up to {strange:.2g}, "
        raise ParityError(
            f"{what} differs from the bundle: probabilities by up to {parity.max_difference:.2g} (allowed "
            f"{parity.tolerance:g}), {novelty}{parity.flips} of {parity.images} labels{_suffered(parity)}",
            hint=f"{NOTHING_LEFT}; another --to may agree",
        )
    changed = abs(parity.silent - parity.silent_source)
    if parity.max_loss is not None and 100 * changed / parity.images > parity.max_loss + 1e-9:
        raise ParityError(
            f"{what} says nothing of {parity.silent} of {parity.images} images, and the bundle of {parity.silent_source}; they "
            f"may differ by {parity.max_loss:g}% of the images",
            hint=f"{NOTHING_LEFT}; allow more with --max-loss, or take another precision",
        )
    lost = -100 * parity.change.mean if parity.change is not None else 0.0
    if parity.max_loss is not None and lost > parity.max_loss + 1e-9:
        assert parity.accuracy is not None
        assert parity.accuracy_source is not None
        assert parity.change is not None
        raise ParityError(
            f"{what} loses {lost:.2f} points of accuracy on the {parity.images} images of '{parity.split}' "
            f"({parity.accuracy_source:.4f} to {parity.accuracy:.4f}, 95% interval of the change "
            f"{100 * parity.change.low:+.2f} to {100 * parity.change.high:+.2f} points); allowed are {parity.max_loss:g}"
            f"{_suffered(parity)}",
            hint=f"{NOTHING_LEFT}; allow more with --max-loss, or take another precision",
        )


NOTHING_LEFT = "nothing was left behind"


def measured(export: Answers, source: Answers, images_NRRC: NDArray[np.uint8]) -> Speed:
    """Images a second of both, in turns on the same images, so that what else the machine does hits both; the best turn counts.

    Each has run once before, so that nobody pays for a first time.
    """
    best = [float("inf"), float("inf")]
    began = time.perf_counter()
    for round_ in range(ROUNDS):
        if round_ and time.perf_counter() - began > SECONDS:
            break
        for place, run in enumerate((export, source)):
            start = time.perf_counter()
            run(images_NRRC)
            best[place] = min(best[place], time.perf_counter() - start)
    return Speed(len(images_NRRC) / best[0], len(images_NRRC) / best[1])


def _by_class(
    labels: Labels, right_N: NDArray[np.bool_], right_source_N: NDArray[np.bool_], classes: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for index, name in enumerate(classes):
        of_class_N = labels == index if labels.ndim == 1 else labels[:, index] == 1
        rows.append(
            {
                "name": name,
                "images": int(of_class_N.sum()),
                "right": int(right_N[of_class_N].sum()),
                "right_source": int(right_source_N[of_class_N].sum()),
            }
        )
    return rows


def _suffered(parity: Parity) -> str:
    """The classes that lost most, as words."""
    lost = [(row["right_source"] - row["right"], row) for row in parity.classes if row["right_source"] > row["right"]]
    if not lost:
        return ""
    worst = sorted(lost, key=lambda pair: -pair[0])
    named = ", ".join(f"{row['name']} ({row['right_source']} to {row['right']} of {row['images']})" for _, row in worst[:NAMED])
    more = f" and {len(worst) - NAMED} more classes" if len(worst) > NAMED else ""
    return f"; it suffered in {named}{more}"


def of_files(
    answers: AnySize,
    told: Told,
    manifest: Manifest,
    *,
    rule: Rule,
    precision: str,
    observe: Observer = ignore,
) -> dict[str, Any]:
    """The form for any size on the files themselves, decoded as its runtime does, beside what was said of their stored pixels.

    `told` is what the export's other form says of the manifest's rows. At most `FILES` are looked at, evenly spread. Files of
    a format that the runtime does not read are counted and left out. Raises `ParityError` beyond the tolerance of this form.
    """
    rows_M = np.unique(np.linspace(0, len(manifest) - 1, min(FILES, len(manifest))).astype(np.int64))
    sources, found = manifest.sources, []
    images = open_source(Path(manifest.root))
    try:
        for done, row in enumerate(rows_M.tolist(), start=1):
            found.append(answers(images.read(sources[row])))
            observe(Progress("proving any size", done, len(rows_M)))
    finally:
        images.close()
    tolerance = ANY_SIZE_TOLERANCE if precision == FLOAT32 else COARSE_TOLERANCE
    read_N = np.array([each is not None for each in found])
    table: dict[str, Any] = {"images": int(read_N.sum()), "unreadable": int((~read_N).sum()), "tolerance": tolerance}
    if not read_N.any():
        return {**table, "max_difference": None, "flips": 0}
    whole, expected = Told.joined(each for each in found if each is not None), told.rows(rows_M[read_N])
    apart, flips = _apart(whole.probs_NK, expected.probs_NK), rule.flips(whole, expected, tolerance)
    if not apart <= tolerance or flips:
        raise ParityError(
            f"the form for images of any size differs from the other one: probabilities by up to {apart:.2g} (allowed "
            f"{tolerance:g}), {flips} of {table['images']} labels",
            hint=NOTHING_LEFT,
        )
    return {**table, "max_difference": apart, "flips": flips}


def told_of_files(found: Mapping[str, Any]) -> list[str]:
    """What the README says of the form for any size."""
    lines = []
    if found["images"]:
        apart, allowed = f"{found['max_difference']:.2g}", f"{found['tolerance']:g}"
        lines = [
            f"The form for images of any size was run on {found['images']:,} of those files, whole as its runtime decodes",
            f"them. Probabilities differ from those of prepared pixels by {apart} at most, {found['flips']:,} labels differ.",
            f"Allowed are {allowed}: resampling inside a graph is not Pillow's to the last bit, Pillow decodes large JPEGs at",
            "a fraction of their size, and a browser has a decoder of its own.",
        ]
    if found["unreadable"]:
        lines.append(f"{found['unreadable']:,} of those files are of formats that its runtime does not read.")
    return lines
