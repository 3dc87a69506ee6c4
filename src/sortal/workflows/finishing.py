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
from sortal.engines.graphs import LOGITS, NOVELTY, PROBABILITIES, deployed
from sortal.engines.onnx import OnnxGraph
from sortal.engines.protocol import Assembled, Engine
from sortal.errors import ParityError
from sortal.evaluation.calibrators import KEEP_THE_ORDER, uncalibrated
from sortal.evaluation.reference import reference
from sortal.evaluation.scores import Scores, score
from sortal.evaluation.task import MULTI_CLASS, Task, task
from sortal.events import Decision, Observer
from sortal.manifest import Manifest
from sortal.predictions import Predictions, concatenate
from sortal.preprocess import Preprocess, network_pixels
from sortal.recipe import Recipe
from sortal.reporting.model import Report, build
from sortal.run import Run
from sortal.training.fit import Fitted
from sortal.workflows import calibrating
from sortal.workflows.calibrating import Calibrated, calibrated, held_out
from sortal.workflows.diagnosing import diagnosed
from sortal.workflows.measuring import calibration, covered, group_numbers, groups_of, sliced
from sortal.workflows.phases import Phases
from sortal.workflows.reporting import write_page

PARITY_TOLERANCE = 1e-3
"""Largest difference between a probability of the graph and of the framework, both in float32."""
PARITY_PIXELS = 32 * 224 * 224

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


def finish(
    run: Run,
    learned: Learned,
    *,
    command: str,
    started: float,
    seconds: dict[str, float],
    phases: Phases,
    observe: Observer,
) -> dict[str, Any]:
    """Write bundle, predictions, report and result, in this order; returns the result that `train --json` prints.

    `command` is what to type to get the same again, `started` when this process began (monotonic), `seconds` what
    it spent so far and `phases` on which parts.
    """
    began = time.monotonic()

    def taken() -> dict[str, float]:
        now = time.monotonic()
        return {key: round(value, 3) for key, value in {"total": now - started, **seconds, "finish": now - began}.items()}

    recipe, preprocess, samples = learned.recipe, learned.preprocess, learned.samples
    with phases.during("graph"):
        assembled = learned.engine.assemble(recipe, preprocess, len(samples.classes), learned.fitted.weights)
        exported = assembled.graph
    out_of_fold = None if learned.held_out_NK is None else (learned.held_out_NK, learned.folds_N)
    with phases.during("calibration"):
        held = held_out(assembled, samples, preprocess, recipe, out_of_fold)
        found = calibrated(held, samples, recipe, learned.task, group_numbers(learned.manifest.used))
    told = calibrating.told(found, samples.classes)
    for decision in told:
        observe(decision)
    with phases.during("parity"):
        graph = deployed(exported, found.calibrator, found.memory, _metadata(learned, found))
        runner = OnnxGraph(graph, threads=recipe.threads)
        parity = _parity(assembled, runner, found, learned)
    with phases.during("evaluation"):
        said = _predictions(learned, runner, found)
        groups = groups_of(learned.manifest.used)
        scores = score(said.predictions, before=said.before, images=learned.manifest.counts(), groups=groups)
    with phases.during("bundle"):
        shipped = _Shipped(found, [*learned.decisions, *told], parity, said, scores, _provenance(learned, found.fitted_on))
        bundles.write(run.bundle, graph=graph, weights=_weights(assembled), about=_about(learned, shipped))
        said.predictions.save(run.predictions)
    work = _work(learned)
    with phases.during("report"):
        report = _reported(run, learned, shipped, work, command=command, seconds=taken())
        report.save(run.report_json)
        write_page(run, report, recipe, preprocess, samples, learned.manifest.used)
    spent = {what: round(took, 3) for what, took in phases.seconds.items()}
    result = _result(run, learned, shipped, work) | {"seconds": taken(), "phases": spent}
    files.write_text(run.result, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


@dataclass(frozen=True, slots=True)
class _Said:
    """What the bundle's own graph says of validation and test images, after the out-of-fold predictions if there are any."""

    predictions: Predictions
    before: Predictions
    """The same before calibration."""
    distances: dict[str, NDArray[np.float32]]
    """By split, of those that the graph was asked about: the distance to familiar images."""


@dataclass(frozen=True, slots=True)
class _Shipped:
    """A model that is calibrated and proved, with what is known about it."""

    found: Calibrated
    decisions: list[Decision]
    parity: dict[str, Any]
    said: _Said
    scores: Scores
    provenance: dict[str, Any]


def _about(learned: Learned, shipped: _Shipped) -> dict[str, Any]:
    """What the bundle says about itself."""
    return {
        "task": learned.task.title,
        "classes": list(learned.samples.classes),
        "preprocess": learned.preprocess.to_dict(),
        **shipped.found.about(),
        "recipe": learned.recipe.model_dump(mode="json"),
        "metrics": dict(shipped.scores.metrics),
        "parity": shipped.parity,
        "provenance": shipped.provenance,
        **_reference(shipped.said.predictions),
    }


def _work(learned: Learned) -> dict[str, Any]:
    """What was done, and with how many parameters; the rate is None where nothing was left to do."""
    fitted = learned.fitted
    parameters = learned.engine.parameters(learned.recipe, learned.preprocess, len(learned.samples.classes))
    return {
        "parameters": parameters.total,
        "trainable_parameters": parameters.trainable,
        "decoded": learned.decoded,
        "features_computed": learned.features_computed,
        "steps": fitted.steps,
        "images_per_second": round(fitted.images / fitted.seconds, 1) if fitted.steps else None,
    }


def _result(run: Run, learned: Learned, shipped: _Shipped, work: dict[str, Any]) -> dict[str, Any]:
    """The contract's object, without its seconds and phases."""
    return {
        "run": str(run.path),
        "recipe": learned.recipe.model_dump(mode="json"),
        "reasons": [{"key": each.key, "value": each.value, "reason": each.reason} for each in shipped.decisions],
        "splits": learned.manifest.split_counts(),
        "excluded": excluded(learned.manifest),
        "metrics": dict(shipped.scores.metrics),
        "work": work,
    }


def _reported(
    run: Run, learned: Learned, shipped: _Shipped, work: dict[str, Any], *, command: str, seconds: dict[str, float]
) -> Report:
    """The report, with its parts that need the images or the findings, and last the diagnosis, which reads all of it."""
    recipe, preprocess, manifest = learned.recipe, learned.preprocess, learned.manifest
    predictions = shipped.said.predictions
    report = build(
        name=run.path.resolve().name,
        created=shipped.provenance["created"],
        scores=shipped.scores,
        predictions=predictions,
        chosen=_chosen(learned, shipped.found.calibrator.method),
        manifest=manifest,
        recipe=recipe,
        decisions=shipped.decisions,
        history=learned.fitted.history,
        epoch=learned.fitted.epoch,
        seconds=seconds,
        work={key: value for key, value in work.items() if value is not None},
        files={"model": "bundle/model.onnx", "weights": "bundle/weights.safetensors", "predictions": "predictions.parquet"},
        command=command,
        versions=shipped.provenance["versions"],
    )
    judged, groups = predictions.split(report.headline.split), groups_of(manifest.used)
    report = replace(
        report,
        findings=run.found(),
        slices=tuple(sliced(judged, manifest.used, learned.samples.pixels)),
        coverage=tuple(covered(judged, groups)),
        calibration=calibration(shipped.found, predictions, shipped.said.distances, groups),
    )
    return replace(report, diagnosis=diagnosed(run, report, learned.engine, recipe, preprocess, manifest, predictions))


def _chosen(learned: Learned, method: str) -> dict[str, list[str]]:
    """What was chosen on which split."""
    recipe = learned.recipe
    calibration = "calibration" if method in KEEP_THE_ORDER else "vector"
    on_val = [] if learned.held_out_NK is not None else [calibration, *learned.task.chosen]
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


def _run(learned: Learned, runner: OnnxGraph, rows_M: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """A graph's outputs for rows of the samples, each of shape (M, ...)."""
    return runner.outputs_of_rows(learned.samples.pixels, rows_M, learned.preprocess)


def _predictions(learned: Learned, runner: OnnxGraph, found: Calibrated) -> _Said:
    samples, judge, thresholds_K = learned.samples, learned.task, found.thresholds_K
    plain = uncalibrated(judge.activation)
    parts, before, distances = [], [], {}

    def add(rows_M: NDArray[np.int64], probs_MK: Numbers, before_MK: Numbers, said_MK: Said, split: str) -> None:
        parts.append(_as_predictions(learned, rows_M, probs_MK, said_MK, thresholds_K, split))
        before.append(_as_predictions(learned, rows_M, before_MK, said_MK, thresholds_K, split))

    if learned.held_out_NK is not None:
        held, choice = found.held_out, found.choice
        assert held is not None
        assert choice is not None
        add(held.rows_M, choice.probs_MK, plain(held.logits_MK), found.said_MK, "cross_validation")
    for name in ("val", "test"):
        if name in samples.splits:
            rows = samples.splits[name]
            told = _run(learned, runner, rows)
            probs_MK = told[PROBABILITIES]
            add(rows, probs_MK, plain(told[LOGITS]), judge.said(probs_MK, thresholds_K), name)
            if NOVELTY in told:
                distances[name] = told[NOVELTY]
    return _Said(concatenate(parts), concatenate(before), distances)


def _reference(predictions: Predictions) -> dict[str, Any]:
    """How often each class was said of images that were not trained on, and how surely: what a server compares with later."""
    name = next((each for each in ("val", "cross_validation") if each in predictions.split_names), None)
    return {} if name is None else {"reference": reference(predictions.split(name).probs_NK).to_dict()}


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


def _parity(assembled: Assembled, runner: OnnxGraph, found: Calibrated, learned: Learned) -> dict[str, Any]:
    """Compare graph and framework on the same images; raises `ParityError` beyond the tolerance."""
    samples, preprocess = learned.samples, learned.preprocess
    rows = samples.splits.get("val", samples.splits["train"])
    count = max(8, min(256, PARITY_PIXELS // preprocess.size**2))
    rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]
    images = network_pixels(samples.pixels.read(rows), preprocess)
    reference_NK = found.calibrator(assembled.logits(images))
    return compare(runner(images), reference_NK, learned.task, found.thresholds_K)


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


def _metadata(learned: Learned, found: Calibrated) -> dict[str, str]:
    """What the graph says about itself, so that the file alone is enough to use it."""
    return {
        "producer": f"sortal {sortal.__version__}",
        "classes": json.dumps(list(learned.samples.classes), ensure_ascii=False),
        "preprocess": json.dumps(learned.preprocess.to_dict()),
        "temperature": repr(found.calibrator.temperature),
        "calibration": found.calibrator.method,
        **({"task": learned.task.title, "thresholds": json.dumps(found.thresholds_K)} if found.thresholds_K else {}),
        **({} if found.rule.always_the_likeliest else {"decision": json.dumps(found.rule.to_json())}),
        **({} if found.novelty is None else {"novelty": json.dumps(found.novelty.to_json())}),
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
