"""The report as numbers: everything that can be said of a run, in plain data, before any page or figure is made of
it.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from sortal.errors import DataError
from sortal.evaluation.scores import Scores
from sortal.events import Decision
from sortal.files import write_text
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.recipe import Recipe
from sortal.reporting import words
from sortal.reporting.examples import examples
from sortal.reporting.telling import TELLINGS

FORMAT = 1
MOST_MISTAKES = 100
"""Mistakes that a report lists; it counts them all."""
ROWS = frozenset(
    (
        "classes",
        "curves",
        "decisions",
        "mistakes",
        "findings",
        "diagnosis",
        "slices",
        "coverage",
        "learning_curve",
        "robustness",
        "examples",
    )
)
"""The fields that are tuples."""
MOST_LISTED = 200
"""Files set aside, and files with a note, that a report lists; it counts them all."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The result in two sentences, and the numbers in them.

    Attributes:
        answer: the accuracy with its interval; of several labels an image, the share of images with exactly their labels.
        basis: on what data it was taken and what was chosen on that data.
        split: which data that is.
        baseline: the share of the commonest class there, or set of labels, which is the accuracy of always naming it.
        baseline_class: its name.
    """

    answer: str
    basis: str
    split: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    images: int
    baseline: float
    baseline_class: str


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a run, as plain data; `to_json` gives the content of `report.json`.

    Attributes:
        headline: the result.
        name: of the run.
        created: when, ISO 8601.
        command: what to type to get the same again, '' where not known.
        classes: names in index order.
        metrics: split to metrics object.
        per_class: split to rows, one a class.
        confusion: as in `evaluation.scores.Scores`.
        reliability: split to calibration bins.
        curves: one row an epoch: epoch, loss, rate, scores.
        epoch: the epoch that is shipped, counted from 1; None where not known.
        recipe: all keys, nested; empty where not known.
        decisions: rows of key, value, reason.
        data: images, classes (name to count), splits (name to count), excluded and notes (rows, the first
        `MOST_LISTED`), excluded_total and notes_total.
        mistakes: rows of source, split, label, predicted, probability; most confident first, the first `MOST_MISTAKES`,
            of the headline's split before those of others. Of several labels an image also missed and wrong (lists), and
            surest, the label whose decision the probability is of.
        mistakes_total: how many there are.
        seconds, work: what it cost, as in the contract.
        files: what is where, role to path.
        versions: software it was made with, name to version.
        task: 'multi_class' or 'multi_label'.
        findings: of the data, in the contract's form: kind, severity, images (sources), detail, cure.
        diagnosis: what is wrong with the training or the data, the gravest first: rows of kind, severity (as of a finding),
            evidence, cure, change (recipe key to the value that would cure it; empty where no key does).
        slices: accuracy on parts of the headline's split: rows of by ('width', 'brightness', a column), value (which
            part), images, accuracy, accuracy_interval.
        coverage: accuracy where the model answers only when it is sure: rows of threshold (of the probability),
            coverage (share answered, 0..1), coverage_interval, accuracy, accuracy_interval.
        learning_curve: rows of images (a head was trained on), accuracy, accuracy_interval.
        robustness: rows of corruption, strength (1..5; 0 is the image as it is), images, accuracy, accuracy_interval, drop,
            drop_interval, broken, tied, as in `evaluation.robustness`; what breaks the model first comes first.
        calibration: method, chosen_on, candidates (rows of method, log_loss), conformal, novelty (mappings).
        maps: source to map (a picture of what the model looked at, as a data URI), nearest (rows of source, label,
            similarity: the images that this model was trained on and finds most like it, the most like first) and fold: with
            cross-validation the model is the one that was trained without this fold, None is the bundle's.
        examples: images that stand for the cells of the confusion matrix, as in `reporting.examples`.

    All from `findings` on are empty where they are not known, as in a report that an older version wrote; whoever computes
    one puts it in with `dataclasses.replace`.
    """

    headline: Headline
    name: str
    created: str
    command: str
    classes: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    per_class: Mapping[str, Sequence[Mapping[str, Any]]]
    confusion: Mapping[str, Sequence[Any]]
    reliability: Mapping[str, Sequence[Mapping[str, Any]]]
    curves: tuple[Mapping[str, Any], ...]
    epoch: int | None
    recipe: Mapping[str, Any]
    decisions: tuple[Mapping[str, str], ...]
    data: Mapping[str, Any]
    mistakes: tuple[Mapping[str, Any], ...]
    mistakes_total: int
    seconds: Mapping[str, float]
    work: Mapping[str, float]
    files: Mapping[str, str]
    versions: Mapping[str, str]
    task: str = "multi_class"
    findings: tuple[Mapping[str, Any], ...] = ()
    diagnosis: tuple[Mapping[str, Any], ...] = ()
    slices: tuple[Mapping[str, Any], ...] = ()
    coverage: tuple[Mapping[str, Any], ...] = ()
    learning_curve: tuple[Mapping[str, Any], ...] = ()
    robustness: tuple[Mapping[str, Any], ...] = ()
    calibration: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data that any JSON parser takes: what is not a finite number is null."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        plain: dict[str, Any] = _plain({"format": FORMAT} | values | {"headline": asdict(self.headline)})
        return plain

    def save(self, path: Path) -> None:
        """Write `report.json`, whole or not at all."""
        write_text(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read what `save` wrote; raises `DataError` for anything else."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise DataError(f"{path} has another format", hint="use the version of sortal that wrote it")
            headline = values.pop("headline")
            headline["accuracy_interval"] = tuple(headline["accuracy_interval"])
            for name in values.keys() & ROWS:
                values[name] = tuple(values[name])
            return cls(headline=Headline(**headline), **values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} is not a report of sortal: {error!r}", hint="finish the run with --resume") from error


def build(
    *,
    name: str,
    created: str,
    scores: Scores,
    predictions: Predictions,
    chosen: Mapping[str, Sequence[str]],
    manifest: Manifest | None = None,
    recipe: Recipe | None = None,
    decisions: Iterable[Decision] = (),
    history: Sequence[Mapping[str, Any]] = (),
    epoch: int | None = None,
    seconds: Mapping[str, float] | None = None,
    work: Mapping[str, float] | None = None,
    files: Mapping[str, str] | None = None,
    command: str = "",
    versions: Mapping[str, str] | None = None,
) -> Report:
    """Put together a report; a foreign set of predictions needs no manifest, recipe or history.

    Args:
        name, created: of the run; `created` is ISO 8601.
        scores: `evaluation.scores.score` of the predictions.
        predictions: as shipped, calibrated; a split, or 'cross_validation', for each row.
        chosen: what was chosen on each split, as keys of `words.CHOICES`: {'val': ['epoch', 'temperature']}. It has no
            default, because a report that does not know it would claim too much.
        manifest: gives the data facts.
        history: rows of the loop: epoch, loss, rate, and any scores.
        epoch: the epoch that is shipped, counted from 1.
        seconds, work: the contract's objects.
        files: role to path, such as {'model': 'bundle/model.onnx'}.

    Raises:
        DataError: an unknown key in `chosen`, or scores of other classes than the predictions'.
    """
    unknown = sorted({key for keys in chosen.values() for key in keys} - set(words.CHOICES))
    if unknown:
        raise DataError(f"nothing called {', '.join(unknown)} can be chosen", hint=f"use {', '.join(words.CHOICES)}")
    if scores.classes != predictions.classes:
        raise DataError("the scores are of other classes than the predictions", hint="score these very predictions")
    split = words.headline_split(list(scores.metrics))
    mistakes = _mistakes(predictions, first=split)
    return Report(
        headline=_headline(split, scores, predictions, chosen.get(split, ()), recipe.split.folds if recipe else None),
        name=name,
        created=created,
        command=command,
        classes=predictions.classes,
        metrics=scores.metrics,
        per_class=scores.per_class,
        confusion=scores.confusion,
        reliability=scores.reliability,
        curves=tuple(_curve_row(row) for row in history),
        epoch=epoch,
        recipe=recipe.model_dump(mode="json") if recipe else {},
        decisions=tuple({"key": item.key, "value": item.value, "reason": item.reason} for item in decisions),
        data=_data_facts(manifest) if manifest else {},
        mistakes=tuple(mistakes[:MOST_MISTAKES]),
        mistakes_total=len(mistakes),
        seconds=dict(seconds or {}),
        work=dict(work or {}),
        files=dict(files or {}),
        versions=dict(versions or {}),
        task=scores.task,
        examples=tuple(examples(predictions.split(split))),
    )


def _headline(split: str, scores: Scores, predictions: Predictions, chosen: Sequence[str], folds: int | None) -> Headline:
    telling, metrics = TELLINGS[scores.task], scores.metrics[split]
    commonest, share = telling.baseline(predictions.split(split))
    return Headline(
        answer=words.answer(split, metrics, score=telling.headline, was_right=telling.was_right),
        basis=words.basis(split, metrics["images"], chosen=chosen, folds=folds),
        split=split,
        accuracy=metrics[telling.headline],
        accuracy_interval=words.interval(metrics, telling.headline),
        images=metrics["images"],
        baseline=share,
        baseline_class=commonest,
    )


def _mistakes(predictions: Predictions, *, first: str) -> list[dict[str, Any]]:
    """All mistakes outside the training split (unless that is all there is), most confident first."""
    splits_N = np.array(predictions.splits_N)
    found = TELLINGS[predictions.task].mistakes(predictions)
    wrong_N = found.wrong_N
    if first != "train":
        wrong_N = wrong_N & (splits_N != "train")
    rows = np.flatnonzero(wrong_N)
    order = np.lexsort((rows, -found.sureness_N[rows], splits_N[rows] != first))
    return [
        {"source": predictions.sources[row], "split": predictions.splits_N[row], **found.told(row)}
        for row in rows[order].tolist()
    ]


def _data_facts(manifest: Manifest) -> dict[str, Any]:
    excluded = [
        {"source": source, "reason": reason}
        for source, reason in zip(manifest.excluded.sources, manifest.excluded.column("exclusion"), strict=True)
    ]
    notes = [
        {"source": source, "note": note}
        for source, note in zip(manifest.used.sources, manifest.used.column("note"), strict=True)
        if note
    ]
    return {
        "images": len(manifest.used),
        "classes": manifest.counts(),
        "splits": manifest.split_counts(),
        "given_splits": list(manifest.given_splits),
        "excluded": excluded[:MOST_LISTED],
        "excluded_total": len(excluded),
        "notes": notes[:MOST_LISTED],
        "notes_total": len(notes),
    }


def _curve_row(row: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: row[key] for key in ("epoch", "loss", "rate")}
    return own | {"scores": {key: value for key, value in row.items() if key not in own}}


def _plain(value: Any) -> Any:
    """Mappings, sequences and numbers as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
