"""Deciding: everything that is fixed before the first step, and everything that a training would be refused for."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import sortal
from sortal import engines, files
from sortal import recipe as recipes
from sortal.data.facts import Facts
from sortal.data.keeping import PixelKeeper
from sortal.data.measured import Bystander, remembered
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.scan import Glimpse, Scanned
from sortal.data.split import assign_folds, assign_splits, can_be_held_out, units
from sortal.data.split import remembered as assigned_sides
from sortal.data.store import Cache
from sortal.engines.protocol import Engine
from sortal.errors import DataError, SortalError
from sortal.events import Decision, Note, Observer
from sortal.manifest import Manifest
from sortal.plan import Facts as PlanFacts
from sortal.plan import facts, for_images, plan
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.run import Run
from sortal.workflows.calibrating import check_decision
from sortal.workflows.checking import scan_counting
from sortal.workflows.freezing import settled
from sortal.workflows.phases import Phases
from sortal.workflows.precautions import taken

MEASURED = ("precision", "layout", "compiled", "runtime", "threads")
"""Recipe keys that are settled by measuring."""


def decide(run: Run, asked: dict[str, Any], phases: Phases, observe: Observer) -> int:
    """Scan, plan, split and measure; write manifest, decisions and, last, the recipe. Returns how many images were decoded."""
    with phases.during("scan"):
        scanned = _scanned(asked, phases, observe)
    with phases.during("plan"):
        _settle(run, asked, scanned, phases, observe)
    return scanned.decoded


def _scanned(asked: dict[str, Any], phases: Phases, observe: Observer) -> Scanned:
    base = recipes.parse(asked["recipe"]) if asked["recipe"] else None
    max_pixels = (base or recipes.override(Recipe(), [s for s in asked["settings"] if s.startswith("max_pixels")])).max_pixels

    def keep(seen: Glimpse) -> PixelKeeper | None:
        with phases.during("load"):  # the engine's libraries: the first look is the first to need them
            return _kept(asked, base, seen)

    return scan_counting(asked["data"], max_pixels=max_pixels, keep=keep, observe=observe)


def _settle(run: Run, asked: dict[str, Any], scanned: Scanned, phases: Phases, observe: Observer) -> None:
    """Everything that is decided about images that were scanned."""
    base = recipes.parse(asked["recipe"]) if asked["recipe"] else None
    precautions = taken(scanned.manifest, observe)
    manifest = precautions.manifest
    decisions: list[Decision] = []
    if base is None:
        settings = recipes.parsed(asked["settings"])
        base, decisions = planned(manifest, settled=settings)
        base = recipes.override(base, asked["settings"])
        decisions = [decision for decision in decisions if decision.key not in settings]
    base, why_task = for_images(base, manifest)
    decisions = [*why_task, *decisions]
    engine = engines.load(base.engine)
    base = engine.pinned(_with_absolute_paths(base, Path(asked["folder"])))
    manifest = _divided(manifest, base, observe)
    decisions += precautions.decisions(manifest)
    _require_training_images(manifest)
    _require_held_out_images(manifest, base)
    check_decision(base, manifest)
    geometry = geometry_of(engine, base)
    classes = len(manifest.classes)
    images = manifest.split_counts()["train"]

    def measure(each: Recipe) -> tuple[Recipe, list[Decision]]:
        with phases.during("measure"):
            return _measured(engine, each, geometry, classes, images)

    recipe, measured = settled(engine, base, geometry, manifest, measure)
    decisions += measured
    for decision in decisions:
        observe(decision)
    found = precautions.findings(manifest)
    for finding in found:
        if finding.severity == "severe":
            observe(Note(f"{finding.detail}; {finding.cure}", "warning"))
    files.write_text(run.findings, json.dumps([finding.to_json() for finding in found], ensure_ascii=False))
    manifest.save(run.manifest)
    files.write_text(run.decisions, json.dumps([asdict(decision) for decision in decisions], indent=2, ensure_ascii=False))
    recipes.write(recipe, run.recipe)


def _kept(asked: dict[str, Any], base: Recipe | None, seen: Glimpse) -> PixelKeeper | None:
    """Where the pixels of the images that are scanned are kept: those that the recipe wants, or likely the planned one.

    Where the guess turns out wrong, images are decoded again; whatever is wrong with the recipe is told after the scan.
    """
    try:
        recipe = base or recipes.override(_likely(seen, recipes.parsed(asked["settings"])), asked["settings"])
        geometry = geometry_of(engines.load(recipe.engine), recipe)
    except (SortalError, ValueError):
        return None
    return PixelKeeper.with_room(geometry, Cache.default(recipe.store.limit), seen.images)


def _likely(seen: Glimpse, settled: Mapping[str, object]) -> Recipe:
    """What would be planned if all images were like the few that were seen."""
    likely = PlanFacts(
        training_images=seen.training_images,
        independent=seen.training_images,
        classes=seen.classes,
        smallest_class=1,
        largest_class=1,
        side=seen.side,
        grey=seen.grey,
        given_splits=(),
    )
    return plan(likely, engines.load("torch").machine(), settled=settled)[0]


def planned(manifest: Manifest, *, settled: Mapping[str, object] | None = None) -> tuple[Recipe, list[Decision]]:
    """What the plan makes of these images on this machine, and why; `settled` is what the user sets, by its full key."""
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


def _measured(engine: Engine, recipe: Recipe, geometry: Preprocess, classes: int, images: int) -> tuple[Recipe, list[Decision]]:
    """Every 'auto' replaced by what is fastest on this machine, measured once for each network, size and batch.

    Only what was measured while nobody else was at work is remembered.
    """
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
        "compiled",
        "runtime",
        "frozen",
        "deterministic",
    )
    question: dict[str, Any] = {"machine": asdict(engine.machine()), "sortal": sortal.__version__}
    question |= {key: getattr(recipe, key) for key in (*of_recipe, "threads")}
    question |= {key: getattr(recipe, key).model_dump(mode="json") for key in ("thaw", "grow", "start")}
    if engine.machine().accelerator:  # whether compiling pays is a matter of how long the training is, to a factor of two
        question["shown"] = (images * recipe.epochs).bit_length()
    question["installed"] = {name: _version(name) for name in ("onnxruntime", "openvino", recipe.engine)}

    bystander = Bystander()

    def measure() -> dict[str, Any]:
        found, reasons = engine.measured(recipe, geometry, classes, images=images)
        if bystander.in_the_way:
            reasons = {
                key: f"{reason}; other programs were at work, so it is measured again next time"
                for key, reason in reasons.items()
            }
        return {"found": {key: getattr(found, key) for key in MEASURED}, "reasons": reasons}

    answer = remembered(Cache.default(), question, measure, keep=lambda: not bystander.in_the_way)
    found = recipes.parse(recipe.model_dump(mode="json") | answer["found"])
    return found, [Decision(key, str(getattr(found, key)), reason) for key, reason in answer["reasons"].items()]


def _version(package: str) -> str:
    """Of an installed package; '' where it is not there: what is installed later may be faster."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


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


def geometry_of(engine: Engine, recipe: Recipe) -> Preprocess:
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


def rehearse(recipe: Recipe, manifest: Manifest) -> None:
    """Raise what a training of this recipe on these divided images would be refused for, without training or writing.

    The network is built with its weights and thrown away, so it costs a second or so.
    """
    recipe, _ = for_images(recipe, manifest)
    engine = engines.load(recipe.engine)
    recipe = engine.pinned(recipe)
    _require_training_images(manifest)
    _require_held_out_images(manifest, recipe)
    check_decision(recipe, manifest)
    preprocess = geometry_of(engine, recipe)
    settled(engine, recipe, preprocess, manifest, lambda each: (each, []))
    recipe = recipes.parse(recipe.model_dump(mode="json") | {"threads": recipe.threads or 1})
    if recipe.strategy == "features":
        engine.frozen(recipe, preprocess)
        return
    used = manifest.used
    training = np.flatnonzero(np.array(used.column("split")) == "train")
    with StoredPixels(used, preprocess, Cache.default(recipe.store.limit)) as pixels:
        engine.open(recipe, preprocess, Samples(used.classes, used.labels_N, used.keys_N, {"train": training}, pixels))
