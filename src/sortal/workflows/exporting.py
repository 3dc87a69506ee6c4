"""Export: a bundle becomes a file for another runtime, which gets its name only after its answers were proved."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal import engines
from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.store import Cache
from sortal.engines.onnx import ROWS_AT_ONCE, predictor
from sortal.engines.protocol import Engine
from sortal.errors import DataError, MissingExtra, NotSupported, RunExists
from sortal.evaluation.task import task
from sortal.events import Observer, Progress, ignore
from sortal.exports import describe, kind_of, parity
from sortal.exports.kind import CALIBRATION_IMAGES, INT8, Answers, Kind, Order, Told
from sortal.exports.model import README, Export, seal
from sortal.exports.rule import Rule
from sortal.files import full_disk_explained, sync, unfinished_name
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, network_pixels
from sortal.recipe import Recipe
from sortal.run import Run, find_bundle
from sortal.workflows.checking import scan
from sortal.workflows.judging import with_classes

TIMED_PIXELS = 64 * 224 * 224
"""Of the images that speed is measured on: 64 photographs, or some thousand small pictures."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that passed, and the table that says so."""

    path: Path
    kind: str
    precision: str
    parity: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "kind": self.kind, "precision": self.precision, "parity": self.parity}


def export(
    target: str | Path,
    *,
    to: str,
    precision: str = "",
    out: str | Path | None = None,
    data: str | Path | None = None,
    max_loss: float = parity.MAX_LOSS,
    licence: str = "",
    runtime: str | Path | None = None,
    observe: Observer = ignore,
) -> Exported:
    """Write a run's or bundle's model as `to`, prove it on labelled images, and say what was measured.

    Args:
        target: a run or a bundle.
        to: one of `sortal.exports.KINDS`.
        precision: 'float32', 'float16', 'bfloat16' or 'int8', as far as the kind has it; '' is its default.
        out: the folder that the export becomes, which must not be there; by default one under the run's `exports/`.
        data: labelled images to prove it on; by default the run's validation split, or training images where it has none.
        max_loss: points of accuracy that an export of less precision than float32 may lose.
        licence: under which licence the model is given away; it is written into the export.
        runtime: for `web`, where the package onnxruntime-web is; by default it is looked for in the cache, then downloaded.

    Raises:
        ParityError: where the export's answers are not the bundle's; nothing is left behind.
        RunExists: where something stands at `out` already.
        UnknownName, NotSupported, MissingExtra, DataError, BundleError: before anything has its name.
    """
    kind, path = kind_of(to), find_bundle(Path(target))
    bundle = Bundle.load(path)
    chosen = precision or kind.precisions[0]
    if chosen not in kind.precisions:
        raise NotSupported(f"{to} cannot be written in {chosen}", hint=f"take {' or '.join(kind.precisions)}")
    if not 0 <= max_loss <= 100:
        raise DataError(f"{max_loss:g} points of accuracy cannot be lost", hint="give --max-loss from 0 to 100")
    if runtime is not None and to != "web":
        raise DataError(f"--runtime is for the web, and {to} needs none", hint="leave it out")
    place = _place(path, out, to if chosen == kind.precisions[0] else f"{to}-{chosen}")
    images = _labelled(path, bundle, data, observe, calibrates=chosen == INT8)
    engine = cache(lambda: engines.load(bundle.about["recipe"]["engine"]))
    licensed = describe.licence_of(licence, _origin(engine, bundle))
    order = Order(
        bundle=bundle,
        precision=chosen,
        about=describe.about(bundle, licence=licensed, kind=to, precision=chosen),
        engine=engine,
        training=lambda: images.calibrating(observe),
        runtime=None if runtime is None else Path(runtime),
        observe=observe,
    )
    return Exported(place, to, chosen, _written(place, kind, order, images, max_loss, observe))


@dataclass(frozen=True)
class Labelled:
    """Images with labels: what an export is proved on, and training images that int8 is calibrated with."""

    bundle: Bundle
    judged: Manifest
    split: str
    training: Manifest | None
    """None where the run that knew them is not there."""

    @cached_property
    def preprocess(self) -> Preprocess:
        return self.bundle.preprocess

    def opened(self, manifest: Manifest, observe: Observer) -> StoredPixels:
        pixels = StoredPixels(manifest, self.preprocess, Cache.default())
        pixels.fill(observe)
        return pixels

    def calibrating(self, observe: Observer) -> NDArray[np.uint8]:
        """Stored pixels of training images, none of which is among those that are judged."""
        if self.training is None or not len(self.training):
            raise NotSupported(
                "int8 is calibrated with training images, and there are none",
                hint="export the run, or name data with a split 'train'",
            )
        with self.opened(self.training, observe) as pixels:
            return pixels.read(np.arange(len(self.training)))


def _origin(engine: Callable[[], Engine], bundle: Bundle) -> str:
    """The licence of what the weights started from, where the engine that knows it is installed."""
    try:
        return engine().licence(Recipe.model_validate(bundle.about["recipe"]))
    except MissingExtra:
        return ""


def _place(bundle: Path, out: str | Path | None, name: str) -> Path:
    """Where the export goes; raises `RunExists` where something is."""
    run = bundle.parent if (bundle.parent / "run.json").is_file() else None
    if out is None and run is None:
        raise DataError(f"{bundle} is a bundle without a run", hint="say where the export goes with --out")
    place = Path(out) if out is not None else Run(run or bundle).exports / name
    _require_free(place)
    return place


def _require_free(place: Path) -> None:
    if place.exists() or place.is_symlink():
        raise RunExists(f"{place} is there already", hint="choose another --out, or remove it")


def _labelled(path: Path, bundle: Bundle, data: str | Path | None, observe: Observer, *, calibrates: bool) -> Labelled:
    run = Run(path.parent)
    own = Manifest.load(run.manifest).used if run.manifest.is_file() else None
    if data is not None:
        given = with_classes(scan(data, max_pixels=bundle.preprocess.max_pixels, observe=observe), bundle.classes).used
        if not len(given):
            raise DataError(f"{data} holds no image that can be used")
        source = own if own is not None else given
        training = _first(source.split("train"), CALIBRATION_IMAGES)
        judged = _without(given, training) if calibrates else given
        if not len(judged):
            raise DataError(
                f"{data} holds only images that int8 is calibrated with, which prove nothing", hint="name others with --data"
            )
        return Labelled(bundle, judged, "data", training)
    if own is None:
        raise DataError(
            f"{path} is a bundle, which holds no images to prove an export on", hint="name labelled images with --data"
        )
    validation, learnt = own.split("val"), own.split("train")
    if len(validation):
        return Labelled(bundle, validation, "val", _first(learnt, CALIBRATION_IMAGES))
    training = _first(learnt, min(CALIBRATION_IMAGES, len(learnt) // 2))
    return Labelled(bundle, _without(learnt, training), "train", training)


def _first(manifest: Manifest, count: int) -> Manifest:
    """So many rows in the order of their contents' hashes: as good as drawn, and the same each time."""
    return manifest.take(np.argsort(manifest.keys_N, kind="stable")[:count])


def _without(manifest: Manifest, others: Manifest) -> Manifest:
    """The rows whose content is not among those of `others`."""
    contents = set(others.column("content"))
    kept = [row for row, content in enumerate(manifest.column("content")) if content not in contents]
    return manifest.take(np.array(kept, dtype=np.int64))


def _written(place: Path, kind: Kind, order: Order, images: Labelled, max_loss: float, observe: Observer) -> dict[str, Any]:
    """Write, prove and seal under a temporary name, then rename; whatever goes wrong leaves nothing."""
    part = unfinished_name(place)
    with full_disk_explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.mkdir()
            said = dict(kind.write(part, order))
            found, files = _proved(kind, part, order, said, images, max_loss, observe)
            describe.write_examples(part, kind.usage)
            text = describe.readme({**order.about, **said}, found, kind.usage, files=files)
            (part / README).write_text(text, encoding="utf-8")
            seal(part, {**order.about, **said, "parity": found})
            for member in part.iterdir():
                sync(member)
            _require_free(place)  # somebody may have put something there since
            os.rename(part, place)
            sync(place.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    Export.load(place)
    return found


def _proved(
    kind: Kind, part: Path, order: Order, said: dict[str, Any], images: Labelled, max_loss: float, observe: Observer
) -> tuple[dict[str, Any], list[str]]:
    """Run the export and the bundle on the same images; raises `ParityError`. The table, and what the README says of files."""
    bundle, judge = order.bundle, task(order.bundle.task)
    graph, rule, about = predictor(bundle), Rule.of(bundle, judge), {**order.about, **said}

    def source(images_NRRC: NDArray[np.uint8]) -> Told:
        return Told.named(graph.outputs(network_pixels(images_NRRC, bundle.preprocess)))

    with images.opened(images.judged, observe) as pixels, kind.open(part, about) as answers:
        told, expected = _both(answers, source, pixels, order.about["kind"], observe)
        timed = max(1, min(len(pixels), TIMED_PIXELS // bundle.preprocess.size**2))
        speed = parity.measured(answers, source, pixels.read(np.arange(timed)))
    found = parity.judge(
        told,
        expected,
        judge.labels(images.judged),
        rule=rule,
        classes=bundle.classes,
        precision=order.precision,
        max_loss=max_loss,
        split=images.split,
        speed=speed,
        sizes=(sum((part / name).stat().st_size for name in said["model"]), bundle.graph.stat().st_size),
    )
    parity.require(found, f"{order.about['kind']} in {order.precision}")
    table, files = found.to_json(), list[str]()
    opened = kind.open_any_size(part, about)
    if opened is not None:
        with opened as any_size:
            table["any_size"] = parity.of_files(
                any_size, told, images.judged, rule=rule, precision=order.precision, observe=observe
            )
        files = parity.told_of_files(table["any_size"])
    return table, files


def _both(answers: Answers, source: Answers, pixels: StoredPixels, name: str, observe: Observer) -> tuple[Told, Told]:
    """What the export and the bundle tell, a bounded number of rows at once."""
    ours, theirs = [], []
    observe(Progress(f"proving {name}", 0, len(pixels)))
    for start in range(0, len(pixels), ROWS_AT_ONCE):
        images_NRRC = pixels.read(np.arange(start, min(start + ROWS_AT_ONCE, len(pixels))))
        theirs.append(source(images_NRRC))
        ours.append(answers(images_NRRC))
        observe(Progress(f"proving {name}", start + len(images_NRRC), len(pixels)))
    return Told.joined(ours), Told.joined(theirs)
