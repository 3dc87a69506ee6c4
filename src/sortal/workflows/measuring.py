"""Measuring: what a report says of judged images beyond their scores: parts of them, coverage, calibration, novelty."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Pixels
from sortal.decision import Conformal
from sortal.evaluation import selective
from sortal.evaluation.intervals import Groups, told_mean, told_share
from sortal.evaluation.slices import shape_facts, slices
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.workflows.calibrating import OUT_OF_FOLD, Calibrated

MOST = 20_000
"""Images whose brightness is looked at; of more, the first."""
AT_ONCE, EVERY = 512, 4
"""Images that are read together, and of their pixels one in four each way."""


def sliced(judged: Predictions, used: Manifest, pixels: Pixels) -> list[dict[str, Any]]:
    """Accuracy on parts of the images of one split, by size, shape and brightness, and by the other columns of the table."""
    row_of = {source: row for row, source in enumerate(used.sources)}
    rows_M = np.array([row_of[source] for source in judged.sources], dtype=np.int64)
    part = used.take(rows_M)
    numbers, shapes = shape_facts(part.column("width"), part.column("height"))
    numbers["brightness"] = _brightness(pixels, rows_M)
    said = [dict(pairs or ()) for pairs in part.column("about")]
    words: dict[str, list[str | None]] = {"shape": shapes}
    words |= {name: [each.get(name) for each in said] for name in dict.fromkeys(name for each in said for name in each)}
    return slices(judged.right_N, numbers, words, group_numbers(part))


def group_numbers(rows: Manifest) -> NDArray[np.int64] | None:
    """A number for each row's group, rows without one being groups of their own; None where no row has one."""
    names = rows.column("group")
    if not any(names):
        return None
    number_of: dict[str, int] = {}
    return np.array(
        [len(names) + row if name is None else number_of.setdefault(name, len(number_of)) for row, name in enumerate(names)],
        dtype=np.int64,
    )


def groups_of(used: Manifest) -> dict[str, int] | None:
    """The same by source."""
    numbers = group_numbers(used)
    return None if numbers is None else dict(zip(used.sources, numbers.tolist(), strict=True))


def _of(groups: Mapping[str, int] | None, judged: Predictions) -> Groups:
    """The groups of the judged images; see `groups_of`."""
    return None if groups is None else np.array([groups[source] for source in judged.sources], dtype=np.int64)


def covered(judged: Predictions, groups: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
    """Accuracy against coverage; nothing where an image may have several labels, each with a threshold of its own."""
    return [] if judged.said_NK is not None else selective.coverage(judged.probs_NK, judged.labels_N, _of(groups, judged))


def calibration(
    found: Calibrated,
    predictions: Predictions,
    distances: dict[str, NDArray[np.float32]],
    groups: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """How probabilities were calibrated, and what sets, decisions and novelty are worth on images that had no part in it.

    Intervals are over groups where `groups` (see `groups_of`) knows some, and null where all judged images are of one. Without
    such images that is left out: on those that it was taken from, a threshold keeps its promise by construction.
    """
    told: dict[str, Any] = {"method": found.calibrator.method, "candidates": found.candidates}
    taken_on = None
    if found.held_out is not None:
        taken_on = told["chosen_on"] = "cross_validation" if found.held_out.name == OUT_OF_FOLD else "val"
    on = next((name for name in ("test", "val") if name in predictions.split_names and name != taken_on), None)
    judged = None if on is None else predictions.split(on)
    groups_N = None if judged is None else _of(groups, judged)
    if found.conformal is None:
        told["conformal"] = {"left_out": found.left_out["conformal"]}
    else:
        told["conformal"] = _sets(found.conformal, judged, groups_N)
    shares_N = None
    if found.novelty is None:
        told["novelty"] = {"left_out": found.left_out["novelty"]}
    else:
        told["novelty"] = {"familiar_images": found.novelty.images, "neighbours": found.novelty.neighbours}
        if on is not None:
            shares_N = found.novelty.shares(distances[on])
            novel_N = shares_N > 0.99
            told["novelty"] |= {
                "judged_on": on,
                "more_novel_than_99_percent": float(novel_N.mean()),
                "more_novel_than_99_percent_interval": told_share(novel_N, groups_N),
            }
    if not found.rule.always_the_likeliest:
        told["decision"] = found.rule.to_json()
        if judged is not None:
            worth = selective.judged(found.rule, judged.probs_NK, judged.labels_N, shares_N, groups_N)
            told["decision"] |= {"judged_on": on, **worth}
    return told


def _sets(conformal: Conformal, judged: Predictions | None, groups_N: Groups) -> dict[str, Any]:
    told: dict[str, Any] = {"coverage_wanted": conformal.level, "held_out_images": conformal.images}
    if conformal.groups is not None:
        told |= {"held_out_groups": conformal.groups, "promised_of": "an image of a new group"}
    told["threshold"] = conformal.threshold
    if judged is None:
        return told | {"left_out": "no images are left to try it out on"}
    inside_NK = judged.probs_NK.astype(np.float64) >= conformal.threshold
    hit_N = inside_NK[np.arange(len(judged)), judged.labels_N]
    size_N = inside_NK.sum(axis=1).astype(np.float64)
    return told | {
        "judged_on": judged.splits_N[0],
        "coverage": float(hit_N.mean()),
        "coverage_interval": told_share(hit_N, groups_N),
        "mean_size": float(size_N.mean()),
        "mean_size_interval": told_mean(size_N, groups_N, low=0.0, high=float(inside_NK.shape[1])),
        "empty": float((size_N == 0).mean()),
        "empty_interval": told_share(size_N == 0, groups_N),
    }


def _brightness(pixels: Pixels, rows_M: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of each image's pixels as the network sees them, 0 (black) to 255 (white)."""
    found_M = np.full(len(rows_M), np.nan)
    for start in range(0, min(MOST, len(rows_M)), AT_ONCE):
        part = rows_M[start : start + AT_ONCE]
        found_M[start : start + len(part)] = pixels.read(part)[:, ::EVERY, ::EVERY].mean(axis=(1, 2, 3))
    return found_M
