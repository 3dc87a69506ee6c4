"""Train: from a folder of labelled images to a finished run. Each step's result is kept, and found again by a resume."""

import contextlib
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal import engines, files
from sortal import recipe as recipes
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.statistics import channel_statistics
from sortal.data.store import Cache
from sortal.engines.protocol import Engine
from sortal.evaluation.task import task
from sortal.events import Begun, Decision, Event, Note, Observer, fanout, ignore
from sortal.manifest import SPLITS, Manifest
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.run import Run
from sortal.training.crossval import out_of_fold
from sortal.training.fit import Fitted, fit
from sortal.workflows.beginning import asked_for, begun, place_for, to_resume
from sortal.workflows.deciding import decide, geometry_of
from sortal.workflows.finishing import Learned, finish
from sortal.workflows.freezing import with_features
from sortal.workflows.phases import Phases


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run and what `train --json` prints of it."""

    run: Run
    result: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.result


def train(
    data: str | Path | None = None,
    *,
    recipe: str | Path | Recipe | None = None,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    observe: Observer = ignore,
) -> Trained:
    """Train, measure, bundle and report; everything ends up in one run folder.

    Args:
        data: a folder, a zip or tar of one, a CSV, a Parquet file or a `manifest.parquet`. Not needed to resume.
        recipe: a preset's name, a TOML file or a Recipe; None plans one from the images and the machine.
        settings: changes to the recipe, such as 'epochs=5' or 'augment.flip=0'.
        out: the run's folder; must be new or empty. None makes one under runs/.
        resume: go on with the run in `out`; the result has the same bytes as if nothing had interrupted it.
        seed: shorthand for the recipe's seed.
        observe: told of all that happens.

    Raises:
        DataError, RecipeError, UnknownName, WeightsError: nothing was done.
        RunExists: `out` holds something else; nothing was touched.
        MachineFailed: what was finished is kept; `resume` goes on.
    """
    if seed is not None:
        settings = [*settings, f"seed={seed}"]
    started = time.monotonic()
    if resume and (going := to_resume(data, recipe=recipe, settings=settings, out=out)) is not None:
        run, asked = going
        held = run.locked()
    else:
        asked = asked_for(data, recipe=recipe, settings=settings)
        run, ours = place_for(out, Path(asked["data"]))
        held = begun(run, asked, ours=ours)
    with held, contextlib.ExitStack() as opened:
        if run.finished:
            observe(Note(f"{run.path} is finished already; nothing was done"))
            return Trained(run, json.loads(run.result.read_text(encoding="utf-8")))
        tell = fanout(observe, _log(run.events))
        tell(Begun(str(run.path)))
        phases = Phases(tell)
        prepared = _prepare(run, asked, opened, phases, tell)
        ready = time.monotonic()
        learned = _learn(run, prepared, phases, tell)
        trained = time.monotonic()
        seconds = {"prepare": ready - started, "train": trained - ready}
        told = finish(run, learned, command=_command(asked), started=started, seconds=seconds, phases=phases, observe=tell)
        return Trained(run, told)


def demo(*, out: str | Path | None = None, observe: Observer = ignore) -> Trained:
    """Train on the embedded sample, 5,500 small pictures of clothes, end to end."""
    from sortal.data.embedded import sample_path

    return train(sample_path(), out=out, observe=observe)


def _log(path: Path) -> Observer:
    """Write events, one JSON object a line; progress is for eyes and is left out."""

    def tell(event: Event) -> None:
        name = type(event).__name__
        if name != "Progress":
            with files.full_disk_explained(path), path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": name, **asdict(event)}, ensure_ascii=False) + "\n")

    return tell


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything that is fixed before the first step."""

    engine: Engine
    recipe: Recipe
    decisions: list[Decision]
    manifest: Manifest
    preprocess: Preprocess
    pixels: StoredPixels
    samples: Samples
    folds_N: NDArray[np.int64]
    features_computed: int
    decoded: int


def _prepare(run: Run, asked: dict[str, Any], opened: contextlib.ExitStack, phases: Phases, observe: Observer) -> _Prepared:
    """Find or make all that is fixed before the first step; what must be closed at the end goes into `opened`."""
    decoded = 0
    if not run.recipe.exists():
        decoded = decide(run, asked, phases, observe)
    with phases.during("load"):
        manifest, recipe = Manifest.load(run.manifest), recipes.read(run.recipe)
        decisions = [Decision(**each) for each in json.loads(run.decisions.read_text(encoding="utf-8"))]
        engine = engines.load(recipe.engine)
        used = manifest.used
        preprocess = geometry_of(engine, recipe)
    cache = Cache.default(recipe.store.limit)
    with phases.during("decode"):
        pixels = opened.enter_context(StoredPixels(used, preprocess, cache))
        pixels.fill(observe)
    split_N = np.array(used.column("split"))
    rows = {name: np.flatnonzero(split_N == name) for name in SPLITS}
    preprocess = _normalised(engine, recipe, preprocess, pixels, rows["train"], phases)
    samples = Samples(
        used.classes,
        task(recipe.task).labels(used),
        used.keys_N,
        {name: found for name, found in rows.items() if len(found)},
        pixels,
    )
    computed = 0
    if recipe.frozen == "stored":
        with phases.during("features"):
            contents = used.column("content")
            samples, computed = with_features(engine, recipe, preprocess, samples, contents, cache, opened, observe)
    folds_N = np.array([-1 if fold is None else fold for fold in used.column("fold")], dtype=np.int64)
    return _Prepared(
        engine, recipe, decisions, manifest, preprocess, pixels, samples, folds_N, computed, decoded + pixels.decoded
    )


def _normalised(
    engine: Engine, recipe: Recipe, preprocess: Preprocess, pixels: StoredPixels, train_M: NDArray[np.int64], phases: Phases
) -> Preprocess:
    """With pretrained weights their own mean and deviation, else those of the training split's pixels."""
    if engine.expects(recipe).mean is not None:
        return preprocess
    with phases.during("statistics"):
        mean, std = channel_statistics(pixels, train_M)
    return replace(preprocess, mean=mean, std=std)


def _learn(run: Run, prepared: _Prepared, phases: Phases, observe: Observer) -> Learned:
    """Cross-validate if the recipe says so, then train the model that is shipped on all training images."""
    recipe, samples = prepared.recipe, prepared.samples

    def open_session(recipe: Recipe, samples: Samples) -> Any:
        return prepared.engine.open(recipe, prepared.preprocess, samples)

    held_out = None
    if recipe.split.folds:
        with phases.during("cross_validation"):
            held_out = out_of_fold(open_session, recipe, samples, prepared.folds_N, save_to=run.held_out, observe=observe)
    scores = None
    if "val" in samples.splits:
        val_labels = samples.labels_N[samples.splits["val"]]

        def scores(logits_NK: NDArray[np.float32]) -> dict[str, float]:
            return task(recipe.task).monitored(logits_NK, val_labels)

    def write_down(micro_batch: int) -> None:
        recipes.write(recipes.override(recipe, [f"micro_batch={micro_batch}"]), run.recipe)

    with phases.during("train"):
        fitted: Fitted = fit(
            open_session(recipe, samples), recipe, scores=scores, save_to=run.checkpoint, smaller=write_down, observe=observe
        )
        if scores is not None:
            phases.of_which("validation", fitted.validation_seconds)
    if fitted.micro_batch != recipe.micro_batch:
        write_down(fitted.micro_batch)  # once more, since a kill may have come between the checkpoint and it
        recipe = recipes.read(run.recipe)
    return Learned(
        engine=prepared.engine,
        recipe=recipe,
        decisions=prepared.decisions,
        manifest=prepared.manifest,
        preprocess=prepared.preprocess,
        samples=samples,
        folds_N=prepared.folds_N,
        fitted=fitted,
        held_out_NK=None if held_out is None else held_out.logits_NK,
        decoded=prepared.decoded,
        features_computed=prepared.features_computed,
    )


def _command(asked: dict[str, Any]) -> str:
    """What to type to get the same run again."""
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in asked["settings"])
    named = "" if asked["recipe"] is None else " --recipe recipe.toml"
    return f"sortal train {shlex.quote(asked['data'])}{named}{settings}"
