"""Compare: runs, or anyone's predictions, on the very same images, pair by pair."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation import foreign
from sortal.evaluation.comparing import Difference, difference
from sortal.evaluation.intervals import mean_interval, share_interval, told_mean
from sortal.evaluation.scores import MOST_LOSS, losses
from sortal.evaluation.task import task
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.run import Run, find_bundle
from sortal.workflows.measuring import groups_of

ORDER = ("cross_validation", "test", "val", "train")
"""The first of these that all runs were judged on is compared; a split of another name only where there is none of ours."""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Compared:
    """What `sortal compare` says; `left_out` counts the images that one run judged and another had set aside."""

    split: str
    images: int
    left_out: int
    runs: list[dict[str, Any]]
    differences: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        counts = {"split": self.split, "images": self.images, "left_out": self.left_out}
        return {**counts, "runs": self.runs, "differences": self.differences}


@dataclass(frozen=True, slots=True)
class _Judged:
    """One run's predictions, what each image is known by in all runs, and its group."""

    name: str
    predictions: Predictions
    contents: dict[str, str] | None
    """Source to content; None for predictions of others, which have no manifest."""
    set_aside: Set[str]
    """Contents of the images that it had, and that were set aside before it was trained."""
    groups: dict[str, int] | None
    """Source to group; None where there are none."""


def compare(targets: Sequence[str | Path]) -> Compared:
    """Paired differences in accuracy between every two of some runs or files of predictions.

    What one run judged and another had set aside is left out and counted. Raises `DataError` where they were otherwise not
    judged on the same images with the same labels, saying which are missing where.
    """
    if len(targets) < 2:
        raise DataError("a comparison needs two runs", hint="sortal compare RUN RUN")
    if len({str(Path(target).resolve()) for target in targets}) < len(targets):
        raise DataError("a run is named twice", hint="name each once")
    judged = [_read(Path(target)) for target in targets]
    _require_equal_tasks(judged)
    split = _common_split(judged)
    parts = [_known(each.predictions.split(split)) for each in judged]
    orders, left_out = _aligned(judged, parts, split)
    aligned = [_rows(part, order) for part, order in zip(parts, orders, strict=True)]
    _require_equal_labels(judged, aligned)
    groups_N = _groups(judged, aligned)
    hits = [part.right_N for part in aligned]
    runs = [
        {
            "run": each.name,
            "accuracy": float(hits_N.mean()),
            "accuracy_interval": list(share_interval(hits_N, groups_N)),
            "log_loss": float(losses(part).mean()),
            "log_loss_interval": told_mean(losses(part), groups_N, low=0.0, high=MOST_LOSS),
        }
        for each, hits_N, part in zip(judged, hits, aligned, strict=True)
    ]
    differences = [
        _told(judged[a].name, judged[b].name, difference(hits[a], hits[b], groups_N), aligned[a], aligned[b], groups_N)
        for a, b in combinations(range(len(judged)), 2)
    ]
    return Compared(split, len(aligned[0]), left_out, runs, differences)


def _told(
    a: str, b: str, found: Difference, first: Predictions, second: Predictions, groups_N: NDArray[np.int64] | None
) -> dict[str, Any]:
    """The contract's object of one pair, with what it takes to judge it."""
    lost_N = losses(second) - losses(first)
    return {
        "a": a,
        "b": b,
        "mean": found.mean,
        "interval": list(found.interval),
        "p_value": found.p_value,
        "images": found.images,
        "only_a_right": found.only_first,
        "only_b_right": found.only_second,
        "images_needed": found.images_needed,
        "log_loss": {
            "mean": float(lost_N.mean()),
            # Of one group nothing can be said: it might have been any other.
            "interval": [limit if math.isfinite(limit) else None for limit in mean_interval(lost_N, groups_N)],
        },
    }


def _read(path: Path) -> _Judged:
    if path.is_file():
        return _Judged(str(path), foreign.read(path), None, frozenset(), None)
    run = Run(path)
    if not run.predictions.exists():
        find_bundle(path)  # says what is wrong, unless it is a bundle, which has no images of its own
        raise DataError(f"{path} is a bundle, which holds no predictions", hint="name the runs that the bundles came from")
    manifest = Manifest.load(run.manifest)
    contents = dict(zip(manifest.used.sources, manifest.used.column("content"), strict=True))
    set_aside = {content for content in manifest.excluded.column("content") if content is not None}
    return _Judged(str(path), Predictions.load(run.predictions), contents, set_aside, groups_of(manifest.used))


def _require_equal_tasks(judged: Sequence[_Judged]) -> None:
    first = judged[0]
    for each in judged[1:]:
        if each.predictions.task != first.predictions.task or set(each.predictions.classes) != set(first.predictions.classes):
            raise DataError(
                f"{first.name} knows {_named(first.predictions.classes)} and {each.name} {_named(each.predictions.classes)}",
                hint="only models of the same classes can be compared",
            )


def _common_split(judged: Sequence[_Judged]) -> str:
    splits = [set(_known(each.predictions).split_names) for each in judged]
    common = set.intersection(*splits)
    if not common:
        told = "; ".join(f"{each.name} on {_named(sorted(found))}" for each, found in zip(judged, splits, strict=True))
        raise DataError(f"they were judged on different splits: {told}", hint="train them with the same recipe.split")
    return next((split for split in ORDER if split in common), sorted(common)[0])


def _known(predictions: Predictions) -> Predictions:
    """The rows whose label is known."""
    return predictions.where(task(predictions.task).known(predictions.labels_N))


def _aligned(judged: Sequence[_Judged], parts: Sequence[Predictions], split: str) -> tuple[list[list[int]], int]:
    """The rows of each part, so that all name the same images in the same order, and how many images were left out since a
    run had set them aside; raises `DataError` where an image is missing for any other reason.
    """
    by_content = all(each.contents is not None for each in judged)
    keys = [_keys(part, each.contents if by_content else None) for each, part in zip(judged, parts, strict=True)]
    everywhere = set.intersection(*(set(found) for found in keys))
    anywhere = set.union(*(set(found) for found in keys))
    for each, found in zip(judged, keys, strict=True):
        lacking = anywhere - found.keys()
        if not everywhere or not (by_content and all(content in each.set_aside for content, _ in lacking)):
            _refuse_unequal(judged, parts, keys, split)
    order = sorted(everywhere)
    return [[found[key] for key in order] for found in keys], len(anywhere) - len(everywhere)


def _refuse_unequal(
    judged: Sequence[_Judged], parts: Sequence[Predictions], keys: Sequence[dict[tuple[str, int], int]], split: str
) -> None:
    """Raise `DataError` for the first run whose images are not those of the first, saying which are missing where."""
    for number, (each, found) in enumerate(zip(judged[1:], keys[1:], strict=True), start=1):
        if found.keys() != keys[0].keys():
            shared = len(found.keys() & keys[0].keys())
            alone = [
                f"; only in {whose.name}: {_named(sorted(part.sources[here[key]] for key in here.keys() - there.keys()))}"
                for whose, part, here, there in (
                    (judged[0], parts[0], keys[0], found),
                    (each, parts[number], found, keys[0]),
                )
                if here.keys() - there.keys()
            ]
            raise DataError(
                f"they were not judged on the same {split} images: {judged[0].name} on {len(keys[0]):,}, {each.name} on "
                f"{len(found):,}, of which {shared:,} are the same{''.join(alone)}",
                hint="give the images a test/ folder, or train both with the same data and split, and compare again",
            )


def _keys(part: Predictions, contents: dict[str, str] | None) -> dict[tuple[str, int], int]:
    """What each row is known by: its content, or its name, and which of several with the same it is."""
    seen: dict[str, int] = {}
    keys = {}
    for row in sorted(range(len(part)), key=lambda row: part.sources[row]):
        name = part.sources[row] if contents is None else contents[part.sources[row]]
        seen[name] = seen.get(name, -1) + 1
        keys[name, seen[name]] = row
    return keys


def _rows(part: Predictions, rows: Sequence[int]) -> Predictions:
    """The rows in this order, columns in the order of the sorted classes."""
    order = sorted(range(len(part.classes)), key=lambda k: part.classes[k])
    place_K = np.argsort(order)
    rows_M = np.array(rows, dtype=np.int64)
    labels = part.labels_N[rows_M]
    return Predictions(
        sources=tuple(part.sources[row] for row in rows),
        classes=tuple(part.classes[k] for k in order),
        probs_NK=part.probs_NK[rows_M][:, order],
        labels_N=labels[:, order] if labels.ndim == 2 else np.where(labels < 0, labels, place_K[labels]),
        splits_N=tuple(part.splits_N[row] for row in rows),
        said_NK=None if part.said_NK is None else part.said_NK[rows_M][:, order],
        thresholds_K=tuple(part.thresholds_K[k] for k in order) if part.thresholds_K else (),
    )


def _require_equal_labels(judged: Sequence[_Judged], aligned: Sequence[Predictions]) -> None:
    first = aligned[0]
    for each, part in zip(judged[1:], aligned[1:], strict=True):
        differ_N = (part.labels_N != first.labels_N).reshape(len(part), -1).any(axis=1)
        if differ_N.any():
            named = ", ".join(first.sources[row] for row in np.flatnonzero(differ_N)[:SHOWN])
            raise DataError(
                f"{int(differ_N.sum()):,} images have other labels in {each.name} than in {judged[0].name}: {named}",
                hint="score both on the same labels: sortal evaluate RUN DATA",
            )


def _groups(judged: Sequence[_Judged], aligned: Sequence[Predictions]) -> NDArray[np.int64] | None:
    """The groups of the first run that knows some."""
    for each, part in zip(judged, aligned, strict=True):
        if each.groups is not None:
            return np.array([each.groups[source] for source in part.sources], dtype=np.int64)
    return None


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return f"{shown} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else shown
