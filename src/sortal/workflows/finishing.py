"""Finish: from trained weights to a calibrated, proved bundle, its scores and its report."""

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sortal
from sortal import bundle as bundles
from sortal import files
from sortal.data.samples import Samples
from sortal.engines.onnx import OnnxGraph
from sortal.engines.protocol import Assembled, Engine
from sortal.errors import ParityError
from sortal.evaluation.scores import score
from sortal.evaluation.task import MULTI_CLASS, Task, task
from sortal.events import Decision, Observer
from sortal.manifest import Manifest
from sortal.predictions import Predictions, concatenate
from sortal.preprocess import Preprocess, network_pixels
from sortal.recipe import Recipe
from sortal.reporting.model import build
from sortal.run import Run
from sortal.training.fit import Fitted
from sortal.workflows.diagnosing import diagnosed
from sortal.workflows.reporting import write_page

PARITY_TOLERANCE = 1e-3
"""Largest difference between a probability of the graph and of the framework, both in float32."""
PARITY_PIXELS = 32 * 224 * 224
MOST_THRESHOLDS = 12
"""Thresholds that a decision names; the bundle has them all."""

Numbers = NDArray[np.floating[Any]]
Said = NDArray[np.bool_] | None
"""Which labels are said; None where it is the likeliest class."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What training leaves behind."""

    engine: Engine
    recipe: Recipe
    decisions: list[Decision]
    manifest: Manifest
    preprocess: Preprocess
    samples: Samples
    folds_N: NDArray[np.int64]
    fitted: Fitted
    held_out_NK: NDArray[np.float32] | None
    """Out-of-fold logits; None without cross-validation."""
    decoded: int
    features_computed: int

    @property
    def task(self) -> Task:
        return task(self.recipe.task)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes probabilities and decisions of logits, and the data that it was fitted on."""

    temperature: float
    thresholds_K: tuple[float, ...]
    """Empty where the likeliest class is said."""
    fitted_on: str


def finish(
    run: Run, learned: Learned, *, command: str, started: float, seconds: dict[str, float], observe: Observer
) -> dict[str, Any]:
    """Write bundle, predictions, report and result, in this order; returns the result that `train --json` prints.

    `command` is what to type to get the same again, `started` when this process began (monotonic) and `seconds` what
    it spent so far.
    """
    began = time.monotonic()
    recipe, preprocess, samples = learned.recipe, learned.preprocess, learned.samples
    assembled = learned.engine.assemble(recipe, preprocess, len(samples.classes), learned.fitted.weights)
    fitted_with = _calibration(learned, assembled)
    temperature = fitted_with.temperature
    told = _told(fitted_with, samples.classes)
    for decision in told:
        observe(decision)
    decisions = [*learned.decisions, *told]
    graph = assembled.onnx(temperature=temperature, metadata=_metadata(learned, fitted_with))
    runner = OnnxGraph(graph, threads=recipe.threads)
    parity = _parity(assembled, runner, fitted_with, learned)
    predictions, before = _predictions(learned, runner, fitted_with)
    scores = score(predictions, before=before, images=learned.manifest.counts())
    provenance = _provenance(learned, fitted_with.fitted_on)
    about = {
        "task": learned.task.title,
        "classes": list(samples.classes),
        "preprocess": preprocess.to_dict(),
        "temperature": temperature,
        **({"thresholds": list(fitted_with.thresholds_K)} if fitted_with.thresholds_K else {}),
        "recipe": recipe.model_dump(mode="json"),
        "metrics": dict(scores.metrics),
        "parity": parity,
        "provenance": provenance,
    }
    bundles.write(run.bundle, graph=graph, weights=_weights(assembled), about=about)
    predictions.save(run.predictions)
    fitted = learned.fitted
    parameters = learned.engine.parameters(recipe, preprocess, len(samples.classes))
    work = {
        "parameters": parameters.total,
        "trainable_parameters": parameters.trainable,
        "decoded": learned.decoded,
        "features_computed": learned.features_computed,
        "steps": fitted.steps,
        "images_per_second": round(fitted.images / fitted.seconds, 1) if fitted.steps else None,
    }
    result = {
        "run": str(run.path),
        "recipe": recipe.model_dump(mode="json"),
        "reasons": [{"key": each.key, "value": each.value, "reason": each.reason} for each in decisions],
        "splits": learned.manifest.split_counts(),
        "excluded": excluded(learned.manifest),
        "metrics": dict(scores.metrics),
        "work": work,
    }

    def taken() -> dict[str, float]:
        now = time.monotonic()
        return {key: round(value, 3) for key, value in {"total": now - started, **seconds, "finish": now - began}.items()}

    report = build(
        name=run.path.resolve().name,
        created=provenance["created"],
        scores=scores,
        predictions=predictions,
        chosen=_chosen(learned),
        manifest=learned.manifest,
        recipe=recipe,
        decisions=decisions,
        history=fitted.history,
        epoch=fitted.epoch,
        seconds=taken(),
        work={key: value for key, value in work.items() if value is not None},
        files={"model": "bundle/model.onnx", "weights": "bundle/weights.safetensors", "predictions": "predictions.parquet"},
        command=command,
        versions=provenance["versions"],
    )
    report = replace(
        report, diagnosis=diagnosed(run, report, learned.engine, recipe, preprocess, learned.manifest, predictions)
    )
    report.save(run.report_json)
    write_page(run, report, recipe, preprocess, samples, learned.manifest.used)
    result["seconds"] = taken()
    files.write_text(run.result, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _chosen(learned: Learned) -> dict[str, list[str]]:
    """What was chosen on which split."""
    recipe = learned.recipe
    on_val = [] if learned.held_out_NK is not None else ["temperature", *learned.task.chosen]
    if recipe.best.monitor != "last":
        on_val.append("epoch")
    if recipe.stop.patience:
        on_val.append("stop")
    if recipe.schedule.name == "plateau":
        on_val.append("rate")
    return {"val": on_val}


def excluded(manifest: Manifest) -> list[dict[str, str]]:
    """The contract's list of images that were set aside."""
    rows = manifest.excluded
    return [{"source": source, "reason": reason} for source, reason in zip(rows.sources, rows.column("exclusion"), strict=True)]


def _calibration(learned: Learned, assembled: Assembled) -> Calibration:
    """The temperature and thresholds that the bundle gets, and the data that they were fitted on."""
    samples, judge = learned.samples, learned.task
    logits_MK: Numbers
    if learned.held_out_NK is not None:
        rows = np.flatnonzero(learned.folds_N >= 0)
        logits_MK, fitted_on = learned.held_out_NK[rows], "out-of-fold predictions of the training images"
    elif "val" in samples.splits:
        rows = samples.splits["val"]
        runner = OnnxGraph(assembled.onnx(temperature=1.0, metadata={}), threads=learned.recipe.threads)
        logits_MK, fitted_on = judge.logits(_run(learned, runner, rows)), "the validation split"
    else:
        none = np.zeros((0, len(samples.classes)))
        unfitted = judge.fit_thresholds(none, judge.unknown(*none.shape))
        return Calibration(1.0, unfitted, "nothing: there is no validation split, so probabilities are not calibrated")
    return Calibration(*_fitted(judge, logits_MK, samples.labels_N[rows]), fitted_on)


def _fitted(judge: Task, logits_MK: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> tuple[float, tuple[float, ...]]:
    """Temperature and thresholds of logits with their labels."""
    temperature = judge.fit_temperature(logits_MK, labels)
    return temperature, judge.fit_thresholds(judge.probabilities(logits_MK, temperature), labels)


def _told(fitted: Calibration, classes: Sequence[str]) -> list[Decision]:
    told = [Decision("temperature", f"{fitted.temperature:.3f}", f"fitted on {fitted.fitted_on}")]
    if fitted.thresholds_K:
        pairs = list(zip(classes, fitted.thresholds_K, strict=True))
        named = ", ".join(f"{name} {threshold:.2f}" for name, threshold in pairs[:MOST_THRESHOLDS])
        more = f" and {len(pairs) - MOST_THRESHOLDS:,} more" if len(pairs) > MOST_THRESHOLDS else ""
        told.append(Decision("thresholds", named + more, f"each label's best F1 on {fitted.fitted_on}"))
    return told


def _run(learned: Learned, runner: OnnxGraph, rows_M: NDArray[np.int64]) -> NDArray[np.float32]:
    """A graph's probabilities for rows of the samples, shape (M, K)."""
    return runner.of_rows(learned.samples.pixels, rows_M, learned.preprocess)


def _predictions(learned: Learned, runner: OnnxGraph, fitted: Calibration) -> tuple[Predictions, Predictions]:
    """What the bundle's own graph says of validation and test images, after the out-of-fold predictions if there are any;
    then the same before calibration.
    """
    samples, judge, thresholds_K = learned.samples, learned.task, fitted.thresholds_K
    parts, before = [], []

    def add(rows_M: NDArray[np.int64], probs_MK: Numbers, before_MK: Numbers, said_MK: Said, split: str) -> None:
        parts.append(_as_predictions(learned, rows_M, probs_MK, said_MK, thresholds_K, split))
        before.append(_as_predictions(learned, rows_M, before_MK, said_MK, thresholds_K, split))

    if learned.held_out_NK is not None:
        rows = np.flatnonzero(learned.folds_N >= 0)
        probs_MK, said_MK = _out_of_fold(learned, rows)
        add(rows, probs_MK, judge.probabilities(learned.held_out_NK[rows]), said_MK, "cross_validation")
    for name in ("val", "test"):
        if name in samples.splits:
            rows = samples.splits[name]
            probs_MK = _run(learned, runner, rows)
            before_MK = judge.without_temperature(probs_MK, fitted.temperature)
            add(rows, probs_MK, before_MK, judge.said(probs_MK, thresholds_K), name)
    return concatenate(parts), concatenate(before)


def _out_of_fold(learned: Learned, rows_M: NDArray[np.int64]) -> tuple[NDArray[np.float32], Said]:
    """Out-of-fold probabilities and decisions, each fold by a temperature and thresholds fitted on the other folds."""
    assert learned.held_out_NK is not None
    judge = learned.task
    logits_MK, folds_M = learned.held_out_NK[rows_M], learned.folds_N[rows_M]
    labels_M = learned.samples.labels_N[rows_M]
    probs_MK = np.empty_like(logits_MK)
    thresholds_MK = np.zeros(logits_MK.shape)
    for fold in np.unique(folds_M):
        held = folds_M == fold
        temperature, thresholds_K = _fitted(judge, logits_MK[~held], labels_M[~held])
        probs_MK[held] = judge.probabilities(logits_MK[held], temperature)
        thresholds_MK[held] = thresholds_K or np.nan  # there are none where the likeliest class is said
    return probs_MK, judge.said(probs_MK, thresholds_MK)


def _as_predictions(
    learned: Learned,
    rows_M: NDArray[np.int64],
    probs_MK: Numbers,
    said_MK: Said,
    thresholds_K: tuple[float, ...],
    split: str,
) -> Predictions:
    sources = learned.manifest.used.sources
    return Predictions(
        sources=tuple(sources[row] for row in rows_M),
        classes=learned.samples.classes,
        probs_NK=probs_MK.astype(np.float32),
        labels_N=learned.samples.labels_N[rows_M],
        splits_N=(split,) * len(rows_M),
        said_NK=said_MK,
        thresholds_K=thresholds_K,
    )


def _parity(assembled: Assembled, runner: OnnxGraph, fitted: Calibration, learned: Learned) -> dict[str, Any]:
    """Compare graph and framework on the same images; raises `ParityError` beyond the tolerance."""
    samples, preprocess = learned.samples, learned.preprocess
    rows = samples.splits.get("val", samples.splits["train"])
    count = max(8, min(256, PARITY_PIXELS // preprocess.size**2))
    rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]
    images = network_pixels(samples.pixels.read(rows), preprocess)
    reference_NK = assembled.probabilities(images, temperature=fitted.temperature)
    return compare(runner(images), reference_NK, learned.task, fitted.thresholds_K)


def compare(
    probs_NK: NDArray[np.float32],
    reference_NK: NDArray[np.float32],
    judge: Task = MULTI_CLASS,
    thresholds_K: Sequence[float] = (),
) -> dict[str, Any]:
    """Largest difference and flipped labels between two ways to compute the same; raises `ParityError` beyond the tolerance.

    An image counts as flipped where another label is said, unless the reference is within the tolerance of saying so too.
    """
    difference = float(np.abs(probs_NK - reference_NK).max())
    flips = judge.flips(probs_NK, reference_NK, thresholds_K, PARITY_TOLERANCE)
    if not difference <= PARITY_TOLERANCE or flips:  # a NaN fails too
        raise ParityError(
            f"the exported graph differs from the model: probabilities by up to {difference:.2g} "
            f"(allowed {PARITY_TOLERANCE:g}), {flips} of {len(probs_NK)} labels",
            hint="no bundle was written; another `model` may export better, and the checkpoint is kept",
        )
    return {"max_difference": difference, "flips": flips, "images": len(probs_NK), "tolerance": PARITY_TOLERANCE}


def _metadata(learned: Learned, fitted: Calibration) -> dict[str, str]:
    """What the graph says about itself, so that the file alone is enough to use it."""
    return {
        "producer": f"sortal {sortal.__version__}",
        "classes": json.dumps(list(learned.samples.classes), ensure_ascii=False),
        "preprocess": json.dumps(learned.preprocess.to_dict()),
        "temperature": repr(fitted.temperature),
        **({"task": learned.task.title, "thresholds": json.dumps(fitted.thresholds_K)} if fitted.thresholds_K else {}),
    }


def _provenance(learned: Learned, calibrated_on: str) -> dict[str, Any]:
    import hashlib

    contents = "".join(sorted(learned.manifest.used.column("content")))
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sortal": sortal.__version__,
        "python": platform.python_version(),
        "machine": learned.engine.machine().name,
        "versions": {name: version(name) for name in ("numpy", "pillow", "onnxruntime", learned.recipe.engine)},
        "images_sha256": hashlib.sha256(contents.encode()).hexdigest(),
        "splits": learned.manifest.split_counts(),
        "epoch": learned.fitted.epoch,
        "calibrated_on": calibrated_on,
    }


def _weights(assembled: Assembled) -> bytes:
    from safetensors.numpy import save

    data: bytes = save({name: np.asarray(array, order="C") for name, array in assembled.tensors().items()})
    return data
