"""Train: from a folder of labelled images to a finished run. Each step's result is kept, and found again by a resume."""

import contextlib
import json
import shlex
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sortal
from sortal import engines, files
from sortal import recipe as recipes
from sortal.data.facts import Facts
from sortal.data.measured import remembered
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.split import assign_folds, assign_splits, can_be_held_out, units
from sortal.data.split import remembered as assigned_sides
from sortal.data.statistics import channel_statistics
from sortal.data.store import Cache
from sortal.engines.protocol import Engine
from sortal.errors import DataError, RunExists, SortalError
from sortal.evaluation.task import task
from sortal.events import Begun, Decision, Event, Note, Observer, fanout, ignore
from sortal.manifest import SPLITS, Manifest
from sortal.plan import facts, for_images, plan
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe, presets
from sortal.run import Run
from sortal.training.crossval import out_of_fold
from sortal.training.fit import Fitted, fit
from sortal.workflows.checking import scan_counting
from sortal.workflows.finishing import Learned, finish
from sortal.workflows.freezing import settled, with_features

MEASURED = ("precision", "layout", "runtime", "threads")
"""Recipe keys that are settled by measuring."""


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
    if resume and (going := _to_resume(data, recipe=recipe, settings=settings, out=out)) is not None:
        run, asked = going
        held = run.locked()
    else:
        asked = _asked(data, recipe=recipe, settings=settings)
        run, ours = _place(out, Path(asked["data"]))
        held = _new(run, asked, ours=ours)
    with held, contextlib.ExitStack() as opened:
        if run.finished:
            observe(Note(f"{run.path} is finished already; nothing was done"))
            return Trained(run, json.loads(run.result.read_text(encoding="utf-8")))
        tell = fanout(observe, _log(run.events))
        tell(Begun(str(run.path)))
        prepared = _prepare(run, asked, opened, tell)
        ready = time.monotonic()
        learned = _learn(run, prepared, tell)
        trained = time.monotonic()
        seconds = {"prepare": ready - started, "train": trained - ready}
        return Trained(run, finish(run, learned, command=_command(asked), started=started, seconds=seconds, observe=tell))


def demo(*, out: str | Path | None = None, observe: Observer = ignore) -> Trained:
    """Train on the embedded sample, 5,500 small pictures of clothes, end to end."""
    from sortal.data.embedded import sample_path

    return train(sample_path(), out=out, observe=observe)


def _to_resume(
    data: str | Path | None, *, recipe: str | Path | Recipe | None, settings: Sequence[str], out: str | Path | None
) -> tuple[Run, dict[str, Any]] | None:
    """The run in `out` and what was asked for when it began; None where none has begun and `data` says what to begin.

    Raises `RunExists` where something else is asked for now: a resumed run is the run that was begun.
    """
    if out is None:
        raise DataError("--resume needs to know the run", hint="sortal train --resume --out RUN")
    run = Run(Path(out))
    if not run.about.exists() and data is not None:
        return None
    asked = run.read_about()
    if data is not None and asked["data"] != str(Path(data).resolve()):
        raise RunExists(f"{out} is a run on {asked['data']}, not on {data}", hint="leave DATA out, or choose another --out")
    if not _asks_for_the_same(asked, recipe, settings):
        raise RunExists(
            f"{out} was begun with another recipe or other settings",
            hint="leave --recipe, --set and --seed out to resume it, or choose another --out",
        )
    return run, asked


def _asks_for_the_same(asked: dict[str, Any], recipe: str | Path | Recipe | None, settings: Sequence[str]) -> bool:
    named = _named_recipe(recipe)
    if asked["recipe"] is None:
        return named is None and set(settings) <= set(asked["settings"])
    named = named or recipes.parse(asked["recipe"])
    return recipes.override(named, settings) == recipes.parse(asked["recipe"])


def _asked(data: str | Path | None, *, recipe: str | Path | Recipe | None, settings: Sequence[str]) -> dict[str, Any]:
    """What a new run is to do, as plain values that are written down before anything else is done."""
    if data is None:
        raise DataError("which images?", hint="sortal train DATA, where DATA is a folder with one folder for each class")
    if not Path(data).exists():
        raise DataError(f"{data} does not exist", hint="name a folder, a zip or tar of one, a CSV or a Parquet file")
    base = _named_recipe(recipe)
    if base is not None:
        base = recipes.override(base, settings)
    else:
        recipes.check_settings(settings)
    return {
        "data": str(Path(data).resolve()),
        "recipe": None if base is None else base.model_dump(mode="json"),
        "settings": [] if base is not None else list(settings),
        "folder": str(Path.cwd()),  # what a relative path in the recipe is relative to
        "sortal": sortal.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _place(out: str | Path | None, data: Path) -> tuple[Run, bool]:
    """The run's address, and whether its folder is of our making."""
    if out is None:
        return Run(fresh_folder(data)), True
    return Run(Path(out)), not Path(out).exists()


@contextlib.contextmanager
def _new(run: Run, asked: dict[str, Any], *, ours: bool) -> Iterator[None]:
    """Begin a run and hold it; a mistake that is found before the first step leaves nothing of it behind."""
    with run.begun(asked):
        try:
            yield
        except SortalError as error:
            if error.exit_code == 2 and not run.checkpoint.exists():
                for leftover in (run.events, run.recipe, run.decisions, run.manifest, run.held_out, run.about):
                    leftover.unlink(missing_ok=True)
                run.remove_lock()
                if ours:
                    with contextlib.suppress(OSError):
                        run.path.rmdir()
            raise


def _named_recipe(recipe: str | Path | Recipe | None) -> Recipe | None:
    if recipe is None or isinstance(recipe, Recipe):
        return recipe
    if str(recipe).endswith(".toml") or Path(recipe).is_file():
        if not Path(recipe).is_file():
            raise DataError(f"there is no recipe file {recipe}", hint="`sortal recipes` lists the recipes by name")
        return recipes.read(Path(recipe))
    return presets.named(str(recipe))


def fresh_folder(data: Path) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: made here, so that two processes never get the same one."""
    name = data.resolve().name.split(".")[0] or "run"
    for number in range(1, 100_000):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        with files.full_disk_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    raise DataError("runs/ is full of runs of that name", hint="choose a folder with --out")


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


def _prepare(run: Run, asked: dict[str, Any], opened: contextlib.ExitStack, observe: Observer) -> _Prepared:
    """Find or make all that is fixed before the first step; what must be closed at the end goes into `opened`."""
    decoded = 0 if run.recipe.exists() else _decide(run, asked, observe)
    manifest, recipe = Manifest.load(run.manifest), recipes.read(run.recipe)
    decisions = [Decision(**each) for each in json.loads(run.decisions.read_text(encoding="utf-8"))]
    engine = engines.load(recipe.engine)
    used = manifest.used
    preprocess = _geometry(engine, recipe)
    cache = Cache.default(recipe.store.limit)
    pixels = opened.enter_context(StoredPixels(used, preprocess, cache))
    pixels.fill(observe)
    split_N = np.array(used.column("split"))
    rows = {name: np.flatnonzero(split_N == name) for name in SPLITS}
    preprocess = _normalised(engine, recipe, preprocess, pixels, rows["train"])
    samples = Samples(
        used.classes,
        task(recipe.task).labels(used),
        used.keys_N,
        {name: found for name, found in rows.items() if len(found)},
        pixels,
    )
    samples, computed = with_features(engine, recipe, preprocess, samples, used.column("content"), cache, opened, observe)
    folds_N = np.array([-1 if fold is None else fold for fold in used.column("fold")], dtype=np.int64)
    return _Prepared(
        engine, recipe, decisions, manifest, preprocess, pixels, samples, folds_N, computed, decoded + pixels.decoded
    )


def _decide(run: Run, asked: dict[str, Any], observe: Observer) -> int:
    """Scan, plan, split and measure; write manifest, decisions and, last, the recipe. Returns how many images were decoded."""
    base = recipes.parse(asked["recipe"]) if asked["recipe"] else None
    max_pixels = (base or recipes.override(Recipe(), [s for s in asked["settings"] if s.startswith("max_pixels")])).max_pixels
    scanned = scan_counting(asked["data"], max_pixels=max_pixels, observe=observe)
    manifest = scanned.manifest
    decisions: list[Decision] = []
    if base is None:
        set_keys = {setting.partition("=")[0].strip() for setting in asked["settings"]}
        base, decisions = planned(manifest, settled=set_keys)
        base = recipes.override(base, asked["settings"])
        decisions = [decision for decision in decisions if decision.key not in set_keys]
    base, why_task = for_images(base, manifest)
    decisions = [*why_task, *decisions]
    engine = engines.load(base.engine)
    base = engine.pinned(_with_absolute_paths(base, Path(asked["folder"])))
    manifest = _divided(manifest, base, observe)
    _require_training_images(manifest)
    _require_held_out_images(manifest, base)
    geometry = _geometry(engine, base)
    classes = len(manifest.classes)
    recipe, measured = settled(engine, base, geometry, manifest, lambda each: _measured(engine, each, geometry, classes))
    decisions += measured
    for decision in decisions:
        observe(decision)
    manifest.save(run.manifest)
    files.write_text(run.decisions, json.dumps([asdict(decision) for decision in decisions], indent=2, ensure_ascii=False))
    recipes.write(recipe, run.recipe)
    return scanned.decoded


def planned(manifest: Manifest, *, settled: Collection[str] = ()) -> tuple[Recipe, list[Decision]]:
    """What the plan makes of these images on this machine, and why; `settled` are the keys that the user has set."""
    return plan(facts(manifest, independent=_independent(manifest)), engines.load("torch").machine(), settled=settled)


def _independent(manifest: Manifest) -> int:
    """`plan.Facts.independent`: the units that may be held out of all images that may train."""
    used = manifest.used
    rows = used.take(np.flatnonzero([side in (None, "train") for side in used.column("split")]))
    return len(np.unique(units(rows)[can_be_held_out(rows)]))


def _with_absolute_paths(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its weights' file named so that a resume from anywhere finds it."""
    file = recipe.weights_file
    return recipe if file is None else recipes.override(recipe, [f"weights={json.dumps(str(folder / file.expanduser()))}"])


def _divided(manifest: Manifest, recipe: Recipe, observe: Observer) -> Manifest:
    """Every image with its split and its fold; those assigned to this data set before, by an equal recipe, are kept."""
    split, seed = recipe.split, recipe.seed
    with Facts(Cache.default().facts, observe) as known:
        shares = f"val {split.val} test {split.test} seed {seed}"
        previous, given = known.assigned(manifest.root, shares), manifest.used.column("split")
        manifest = assign_splits(manifest, val=split.val, test=split.test, seed=seed, previous=previous)
        if manifest.used.column("split") != given:  # else nothing in it is ours, and the next training owes it nothing
            known.remember_assigned(manifest.root, shares, assigned_sides(manifest, "split"))
        if split.folds:
            folds = f"{shares} folds {split.folds}"
            manifest = assign_folds(manifest, split.folds, seed=seed, previous=known.assigned(manifest.root, folds))
            known.remember_assigned(manifest.root, folds, assigned_sides(manifest, "fold"))
    return manifest


def _measured(engine: Engine, recipe: Recipe, geometry: Preprocess, classes: int) -> tuple[Recipe, list[Decision]]:
    """Every 'auto' replaced by what is fastest on this machine, measured once for each network, size and batch."""
    of_recipe = (
        "engine",
        "model",
        "strategy",
        "image_size",
        "channels",
        "stem",
        "batch_size",
        "precision",
        "layout",
        "runtime",
        "frozen",
    )
    question = {"machine": asdict(engine.machine()), "sortal": sortal.__version__}
    question |= {key: getattr(recipe, key) for key in (*of_recipe, "threads")}
    question["thaw"] = recipe.thaw.model_dump(mode="json")

    def measure() -> dict[str, Any]:
        found, reasons = engine.measured(recipe, geometry, classes)
        return {"found": {key: getattr(found, key) for key in MEASURED}, "reasons": reasons}

    answer = remembered(Cache.default(), question, measure)
    found = recipes.parse(recipe.model_dump(mode="json") | answer["found"])
    return found, [Decision(key, str(getattr(found, key)), reason) for key, reason in answer["reasons"].items()]


def _require_training_images(manifest: Manifest) -> None:
    without = [name for name, images in manifest.split("train").counts().items() if not images]
    if without:
        raise DataError(
            f"no training images of {', '.join(map(repr, without))}",
            hint="a class can only be learnt from images in the training split: move some there, or remove the class",
        )


def _require_held_out_images(manifest: Manifest, recipe: Recipe) -> None:
    """What the recipe looks at must be there, and there must be something to measure the result on."""
    held_out = set(manifest.split_counts()) & {"val", "test"}
    looked = recipe.best.monitor != "last" or recipe.stop.patience or recipe.schedule.name == "plateau"
    if "val" not in held_out and looked:
        raise DataError(
            "best.monitor, stop.patience and schedule 'plateau' look at a validation split, and there is none",
            hint="give a val/ folder, set split.val=0.2, or set best.monitor=last, stop.patience=0 and another schedule.name",
        )
    if not held_out and not recipe.split.folds:
        raise DataError(
            "nothing is held out: no validation split, no test split and no cross-validation, so nothing can be measured",
            hint="set split.val=0.2, or split.folds=5 with a frozen network, or give a val/ or test/ folder",
        )


def _geometry(engine: Engine, recipe: Recipe) -> Preprocess:
    """Sizes and interpolation; where the weights bring no normalisation it is measured once the pixels are there."""
    wanted = engine.expects(recipe)
    middle = (0.5,) * recipe.channels
    return Preprocess(
        size=recipe.image_size,
        resize=recipe.resize or wanted.resize,
        channels=recipe.channels,
        interpolation=wanted.interpolation,
        mean=wanted.mean or middle,
        std=wanted.std or middle,
        max_pixels=recipe.max_pixels,
    )


def _normalised(
    engine: Engine, recipe: Recipe, preprocess: Preprocess, pixels: StoredPixels, train_M: NDArray[np.int64]
) -> Preprocess:
    """With pretrained weights their own mean and deviation, else those of the training split's pixels."""
    if engine.expects(recipe).mean is not None:
        return preprocess
    mean, std = channel_statistics(pixels, train_M)
    return replace(preprocess, mean=mean, std=std)


def _learn(run: Run, prepared: _Prepared, observe: Observer) -> Learned:
    """Cross-validate if the recipe says so, then train the model that is shipped on all training images."""
    recipe, samples = prepared.recipe, prepared.samples

    def open_session(recipe: Recipe, samples: Samples) -> Any:
        return prepared.engine.open(recipe, prepared.preprocess, samples)

    held_out = None
    if recipe.split.folds:
        held_out = out_of_fold(open_session, recipe, samples, prepared.folds_N, save_to=run.held_out, observe=observe)
    scores = None
    if "val" in samples.splits:
        val_labels = samples.labels_N[samples.splits["val"]]

        def scores(logits_NK: NDArray[np.float32]) -> dict[str, float]:
            return task(recipe.task).monitored(logits_NK, val_labels)

    def write_down(micro_batch: int) -> None:
        recipes.write(recipes.override(recipe, [f"micro_batch={micro_batch}"]), run.recipe)

    fitted: Fitted = fit(
        open_session(recipe, samples), recipe, scores=scores, save_to=run.checkpoint, smaller=write_down, observe=observe
    )
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
        held_out_NK=held_out,
        decoded=prepared.decoded,
        features_computed=prepared.features_computed,
    )


def rehearse(recipe: Recipe, manifest: Manifest) -> None:
    """Raise what a training of this recipe on these divided images would be refused for, without training or writing.

    The network is built with its weights and thrown away, so it costs a second or so.
    """
    engine = engines.load(recipe.engine)
    recipe = engine.pinned(recipe)
    _require_training_images(manifest)
    _require_held_out_images(manifest, recipe)
    preprocess = _geometry(engine, recipe)
    settled = recipes.parse(recipe.model_dump(mode="json") | {"threads": recipe.threads or 1})
    if recipe.strategy == "features":
        engine.frozen(settled, preprocess)
        return
    used = manifest.used
    training = np.flatnonzero(np.array(used.column("split")) == "train")
    with StoredPixels(used, preprocess, Cache.default(recipe.store.limit)) as pixels:
        engine.open(settled, preprocess, Samples(used.classes, used.labels_N, used.keys_N, {"train": training}, pixels))


def _command(asked: dict[str, Any]) -> str:
    """What to type to get the same run again."""
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in asked["settings"])
    named = "" if asked["recipe"] is None else " --recipe recipe.toml"
    return f"sortal train {shlex.quote(asked['data'])}{named}{settings}"
