"""Evaluate: scores of a run, of anyone's predictions, or of a model on data it has never seen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.store import Cache
from sortal.engines.graphs import LOGITS
from sortal.engines.onnx import predictor
from sortal.errors import DataError
from sortal.evaluation import foreign
from sortal.evaluation.calibrators import uncalibrated
from sortal.evaluation.scores import Scores, score
from sortal.evaluation.task import task
from sortal.events import Observer, ignore
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.run import Run, find_bundle
from sortal.workflows.checking import scan
from sortal.workflows.measuring import groups_of


def evaluate(target: str | Path, data: str | Path | None = None, *, observe: Observer = ignore) -> Scores:
    """Scores of a run's own splits, of a file of predictions, or, with `data`, of a run's model on other labelled images.

    Raises `DataError` where there is nothing to score or the data's classes are not the model's.
    """
    path = Path(target)
    if data is not None:
        return _on_new_data(path, data, observe)
    if path.is_file():
        return score(foreign.read(path))
    run = Run(path)
    if not run.report_json.exists():
        find_bundle(path)  # says what is wrong, unless it is a bundle, which has no images of its own
        raise DataError(f"{path} is a bundle, which holds no images", hint=f"sortal evaluate {path} DATA")
    return _of_report(json.loads(run.report_json.read_text(encoding="utf-8")))


def _of_report(report: dict[str, Any]) -> Scores:
    keys = ("metrics", "per_class", "confusion", "reliability", "task")
    return Scores(tuple(report["classes"]), **{key: report[key] for key in keys if key in report})


def _on_new_data(target: Path, data: str | Path, observe: Observer) -> Scores:
    bundle = Bundle.load(find_bundle(target))
    manifest = with_classes(scan(data, max_pixels=bundle.preprocess.max_pixels, observe=observe), bundle.classes)
    predictions, found = _asked(bundle, manifest, observe)
    judge = task(bundle.task)
    if LOGITS in found:
        before_NK = uncalibrated(judge.activation)(found[LOGITS])
    else:  # a bundle of an older version, which knows temperatures alone
        before_NK = judge.without_temperature(predictions.probs_NK, bundle.temperature)
    return score(
        predictions, before=replace(predictions, probs_NK=before_NK), images=manifest.counts(), groups=groups_of(manifest.used)
    )


def predicted(bundle: Bundle, manifest: Manifest, *, observe: Observer = ignore) -> Predictions:
    """What a bundle's own graph says of a manifest's images in use; the manifest's classes are the bundle's."""
    return _asked(bundle, manifest, observe)[0]


def _asked(bundle: Bundle, manifest: Manifest, observe: Observer) -> tuple[Predictions, dict[str, NDArray[np.float32]]]:
    """The predictions, and all outputs of the graph by name."""
    judge = task(bundle.task)
    used = manifest.used
    labels = judge.labels(used)
    graph = predictor(bundle)
    with StoredPixels(used, bundle.preprocess, Cache.default()) as pixels:
        pixels.fill(observe)
        found = graph.outputs_of_rows(pixels, np.arange(len(used)), bundle.preprocess, observe=observe)
    probs_NK = found[graph.names[0]]
    splits = tuple(split or "data" for split in used.column("split"))
    said_NK = judge.said(probs_NK, bundle.thresholds)
    return Predictions(tuple(used.sources), bundle.classes, probs_NK, labels, splits, said_NK, bundle.thresholds), found


def with_classes(manifest: Manifest, classes: tuple[str, ...]) -> Manifest:
    """The manifest with the model's class indices; a class that the model does not know is an error."""
    strange = [name for name in manifest.classes if name not in classes]
    if strange:
        raise DataError(
            f"the model does not know {', '.join(map(repr, strange))}; its classes are {', '.join(map(repr, classes))}",
            hint="name the folders as the model's classes, or leave those images out",
        )
    return Manifest(manifest.table, classes, manifest.root, manifest.given_splits)
