"""Diagnosing: what a run left behind, put together as a case for the rules of `evaluation.diagnosis`."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sortal.engines.protocol import Engine
from sortal.evaluation.diagnosis import Case, diagnose
from sortal.evaluation.diagnosis.case import Fed
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.run import Run

if TYPE_CHECKING:
    from sortal.reporting.model import Report


def diagnosed(
    run: Run,
    report: "Report",
    engine: Engine,
    recipe: Recipe,
    preprocess: Preprocess,
    manifest: Manifest,
    predictions: Predictions,
) -> tuple[dict[str, Any], ...]:
    """The report's `diagnosis`: a few milliseconds, since all that it looks at is there already."""
    case = Case(
        recipe=recipe,
        training=manifest.split("train").counts(),
        history=[{key: row[key] for key in ("epoch", "loss", "rate")} | dict(row["scores"]) for row in report.curves],
        metrics=report.metrics,
        per_class=report.per_class,
        headline=report.headline.split,
        findings=report.findings,
        predictions=predictions,
        fed=Fed(preprocess.mean, preprocess.std, preprocess.size),
        wanted=_wanted(engine, recipe),
        warnings=list(_warnings(run.events)),
        seconds=report.seconds,
        work=report.work,
        learning_curve=report.learning_curve,
    )
    return diagnose(case)


def _wanted(engine: Engine, recipe: Recipe) -> Fed | None:
    """How the network's pretrained weights were fed; None without."""
    expected = engine.expects(recipe)
    if expected.mean is None or expected.std is None:
        return None
    return Fed(expected.mean, expected.std, expected.trained)


def _warnings(events: Path) -> Iterator[str]:
    """The warnings that the training told, in this process or in one that was interrupted."""
    if not events.exists():
        return
    for line in events.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # the last line of a process that was killed may be half of one
            event: Mapping[str, Any] = json.loads(line)
            if event.get("event") == "Note" and event.get("severity") == "warning":
                yield str(event["text"])
