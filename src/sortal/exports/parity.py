"""The parity gate: an export's answers beside the bundle's, on the same labelled images, before the export gets its name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.data.sources import open_source
from sortal.errors import ParityError
from sortal.evaluation.paired import Estimate, difference
from sortal.evaluation.task import Task
from sortal.events import Observer, Progress, ignore
from sortal.exports.kind import FLOAT32, Answers, AnySize
from sortal.manifest import Manifest
from sortal.predictions import right
from sortal.preprocess import open_rgb

TOLERANCE = 1e-3
"""Largest difference between a probability of a float32 export and of the bundle."""
MAX_LOSS = 0.5
"""Points of accuracy that an export of less precision may lose, unless the user says otherwise."""
ANY_SIZE_TOLERANCE, COARSE_TOLERANCE, FILES = 0.05, 0.2, 256
"""Of probabilities of the form for any size, in float32 and with less precision, where a pixel that is one step brighter may
move what is rounded all the way up; and the files that it is tried on, at most."""
SECONDS, ROUNDS = 1.5, 9
"""Speed is measured for so long, or in so many rounds."""
NAMED = 5
"""Classes that an error names; the table has them all."""

Probs = NDArray[np.float32]
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
    flips: int
    """Images of which the two say different labels; in float32 those only of which the bundle is sure by the tolerance."""
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
            "flips": self.flips,
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
    probs_NK: Probs,
    source_NK: Probs,
    labels: Labels,
    *,
    task: Task,
    thresholds_K: Sequence[float],
    classes: Sequence[str],
    precision: str,
    max_loss: float,
    split: str,
    speed: Speed,
    sizes: tuple[int, int],
) -> Parity:
    """The table of N images: probabilities (N, K) of the export and of the bundle, and labels, `UNKNOWN` where not known."""
    exact = precision == FLOAT32
    with np.errstate(invalid="ignore"):  # a NaN is found by the gate
        apart = float(np.abs(probs_NK - source_NK).max())
    known_N = task.known(labels)
    right_N, right_source_N = (
        right(each_NK, labels, task.said(each_NK, thresholds_K))[known_N] for each_NK in (probs_NK, source_NK)
    )
    measured = bool(known_N.any())
    return Parity(
        split=split,
        images=len(probs_NK),
        max_difference=apart,
        flips=task.flips(probs_NK, source_NK, thresholds_K, TOLERANCE if exact else 0.0),
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


def require(parity: Parity, what: str) -> None:
    """Raise `ParityError` for an export that may not be given out, naming the classes that suffered."""
    if not np.isfinite(parity.max_difference):
        raise ParityError(f"{what} gives probabilities that are no numbers", hint=NOTHING_LEFT)
    if parity.tolerance is not None and (parity.max_difference > parity.tolerance or parity.flips):
        raise ParityError(
            f"{what} differs from the bundle: probabilities by up to {parity.max_difference:.2g} (allowed "
            f"{parity.tolerance:g}), {parity.flips} of {parity.images} labels{_suffered(parity)}",
            hint=f"{NOTHING_LEFT}; another --to may agree",
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
    probs_NK: Probs,
    manifest: Manifest,
    *,
    task: Task,
    bundle: Bundle,
    precision: str,
    observe: Observer = ignore,
) -> dict[str, Any]:
    """The form for any size on the files themselves, whole as they are decoded, beside what was said of their stored pixels.

    `probs_NK` are what the export's other form says of the manifest's rows. At most `FILES` are looked at, evenly spread.
    Raises `ParityError` beyond the tolerance of this form.
    """
    rows = np.unique(np.linspace(0, len(manifest) - 1, min(FILES, len(manifest))).astype(np.int64))
    sources, found = manifest.sources, []
    images = open_source(Path(manifest.root))
    try:
        for done, row in enumerate(rows.tolist(), start=1):
            image, *_ = open_rgb(images.read(sources[row]), max_pixels=bundle.preprocess.max_pixels)
            found.append(answers(np.asarray(image)))
            observe(Progress("proving any size", done, len(rows)))
    finally:
        images.close()
    told_NK = np.stack(found)
    apart = float(np.abs(told_NK - probs_NK[rows]).max())
    tolerance = ANY_SIZE_TOLERANCE if precision == FLOAT32 else COARSE_TOLERANCE
    flips = task.flips(told_NK, probs_NK[rows], bundle.thresholds, tolerance)
    if not apart <= tolerance or flips:
        raise ParityError(
            f"the form for images of any size differs from the other one: probabilities by up to {apart:.2g} (allowed "
            f"{tolerance:g}), {flips} of {len(rows)} labels",
            hint=NOTHING_LEFT,
        )
    return {"max_difference": apart, "flips": flips, "images": len(rows), "tolerance": tolerance}


def told_of_files(found: Mapping[str, Any]) -> list[str]:
    """What the README says of the form for any size."""
    apart, allowed = f"{found['max_difference']:.2g}", f"{found['tolerance']:g}"
    return [
        f"The form for images of any size was run on {found['images']:,} of those files, whole as they are decoded.",
        f"Probabilities differ from the other form's by {apart} at most, labels of {found['flips']:,} images. Allowed are",
        f"{allowed}: resampling inside a graph is not Pillow's to the last bit, and Pillow decodes large JPEGs at a",
        "fraction of their size.",
    ]
