"""A study's runs: every row for every seed, one after the other, each begun, resumed or found finished; and what they left."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortal.errors import BundleError, SortalError
from sortal.events import Begun, Decision, Event, Note, Observer, Progress
from sortal.predictions import Predictions
from sortal.recipe import Recipe
from sortal.run import Run
from sortal.studies.rows import Row

Train = Callable[[Recipe, Path, Observer], None]
"""Trains a recipe on the study's images into a folder, or goes on where a training in it stopped."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One row with one seed.

    Attributes:
        row, seed: which.
        run: its folder.
        failure: why there is no model, such as a training that diverged; '' where there is one.
    """

    row: str
    seed: int
    run: Run
    failure: str = ""


def run_all(rows: Sequence[Row], seeds: Sequence[int], folder: Path, *, train: Train, observe: Observer) -> list[Tried]:
    """Train what is not finished yet. A training that fails in itself is a result; any other error ends the study."""
    tried: list[Tried] = []
    total = len(rows) * len(seeds)
    tell = quieter(observe)
    for row in rows:
        for seed in seeds:
            observe(Progress("study", len(tried), total, "runs"))
            run = Run(folder / f"{row.folder}-{seed}")
            if not run.finished:
                observe(Note(f"run {len(tried) + 1} of {total}: {row.name}, seed {seed}"))
            failure = ""
            with _named(row, seed):
                try:
                    train(row.seeded(seed), run.path, ignoring_finished(tell, run))
                except SortalError as error:
                    if error.exit_code != 1:
                        raise
                    failure = error.message
                    observe(Note(f"{row.name}, seed {seed}: {failure}", severity="warning"))
            tried.append(Tried(row.name, seed, run, failure))
    observe(Progress("study", total, total, "runs"))
    return tried


def quieter(observe: Observer) -> Observer:
    """An observer of many runs that tells a decision once, and no run's beginning: what can be resumed is the study."""
    told: set[Decision] = set()

    def tell(event: Event) -> None:
        if isinstance(event, Begun) or (isinstance(event, Decision) and event in told):
            return
        if isinstance(event, Decision):
            told.add(event)
        observe(event)

    return tell


def ignoring_finished(observe: Observer, run: Run) -> Observer:
    """The same without the note that a finished run has nothing left to do."""
    finished = run.finished

    def tell(event: Event) -> None:
        if not (finished and isinstance(event, Note)):
            observe(event)

    return tell


@contextlib.contextmanager
def _named(row: Row, seed: int) -> Iterator[None]:
    """Say of which run an error speaks."""
    try:
        yield
    except SortalError as error:
        error.message = f"row {row.name!r}, seed {seed}: {error.message}"
        raise


@dataclass(frozen=True, slots=True)
class Left:
    """What a finished run left behind: validation predictions, a row an epoch, and what it cost."""

    validation: Predictions
    curve: Sequence[dict[str, Any]]
    epoch: int
    seconds: float
    """Of the epochs, those before an interruption among them."""


def left_by(run: Run) -> Left:
    """Read a finished run; raises `BundleError` where it is damaged."""
    try:
        report = json.loads(run.report_json.read_text(encoding="utf-8"))
        seconds = {row["epoch"]: float(row["seconds"]) for row in _events(run) if row["event"] == "EpochDone"}
        curve, epoch = list(report["curves"]), int(report["epoch"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{run.path} is damaged: {error!r}", hint="delete that folder; --resume trains it anew") from error
    return Left(Predictions.load(run.predictions).split("val"), curve, epoch, sum(seconds.values()))


def _events(run: Run) -> Iterator[dict[str, Any]]:
    for line in run.events.read_text(encoding="utf-8").splitlines():
        # A kill may have cut a line short.
        with contextlib.suppress(ValueError):
            yield json.loads(line)
