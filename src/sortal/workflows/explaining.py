"""Explaining: what a model looked at, for images that a person names and for the mistakes that a report shows."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sortal import engines
from sortal.bundle import Bundle
from sortal.data.store import Cache, RowStore
from sortal.engines.graphs import LOGITS
from sortal.engines.onnx import OnnxGraph, predictor
from sortal.errors import MissingExtra, NotSupported, UnreadableImage
from sortal.evaluation.calibrators import of_bundle
from sortal.events import Decision, Note, Observer, Progress, ignore
from sortal.explanation.methods import METHODS, OCCLUSION, by_architecture, known
from sortal.explanation.neighbours import nearest
from sortal.explanation.occlusion import Predict, occlusion
from sortal.explanation.overlay import pair, small
from sortal.files import write_bytes
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, network_pixels, stored_pixels
from sortal.recipe import Recipe
from sortal.run import find_bundle
from sortal.training.crossval import OutOfFold
from sortal.workflows.predicting import walk

if TYPE_CHECKING:
    from sortal.data.samples import Pixels
    from sortal.engines.protocol import Attributor, Trained

AT_ONCE = 16
"""Images that are explained together; bounds memory."""
MOST_MISTAKES = 20
"""Mistakes of a report that get a map."""
MOST_COMPARED = 2_000
"""Training images that a mistake is compared with, evenly spread, where their features are computed for this alone."""
MAP_SIDE = 192
"""Pixels of a map in a report."""
FOLDER = "explained"


@dataclass(frozen=True, slots=True)
class Explained:
    """Maps in the order of the images, and the images that could not be read."""

    method: str
    maps: list[dict[str, Any]] = field(default_factory=list)
    """Rows `source`, `label`, `probability`, `method`, `path`."""
    errors: list[dict[str, str]] = field(default_factory=list)
    """The contract's error objects: source, reason."""

    def to_json(self) -> dict[str, Any]:
        return {"maps": self.maps, "errors": self.errors}


def explain(
    target: str | Path,
    images: Iterable[str | Path],
    *,
    method: str | None = None,
    out: str | Path | None = None,
    observe: Observer = ignore,
) -> Explained:
    """Write what the model of a run or bundle looked at: of each image a PNG, the picture beside itself with the map over it.

    The map is of the label that the bundle's rule gives, or would give where the model abstains; of several labels an image of
    the likeliest.

    Args:
        target: a run or a bundle.
        images: files, or folders, which are walked. One that cannot be read is named in `errors`; the rest are explained.
        method: 'grad_cam', 'attention_rollout', 'integrated_gradients' or 'occlusion'; None goes by the architecture, and takes
            occlusion, which needs no framework, where none of the others works.
        out: the folder for the pictures; None is `explained/`. Nothing that is there is overwritten.

    Raises:
        UnknownName: for a method that there is not. NotSupported: for one that the network has no parts for.
        MissingExtra: for one that needs what is not installed.
        BundleError: where the bundle is damaged. DataError: where no images are named.
    """
    bundle = Bundle.load(find_bundle(Path(target)))
    graph = predictor(bundle)
    chosen = _method(bundle, observe) if method is None else known(method)
    attribute: Attributor = partial(occlusion, graph)
    if chosen != OCCLUSION:
        attribute = engines.load(_engine_of(bundle)).attribute(bundle, chosen)
    folder = Path(FOLDER if out is None else out)
    explained = Explained(chosen)
    readable = _readable(walk(images), bundle.preprocess, explained.errors)
    while group := list(islice(readable, AT_ONCE)):
        pixels = np.stack([image for _, image in group])
        probs_NK = graph(pixels)
        labels_N = bundle.decision.preferred(probs_NK)
        maps = attribute(pixels, labels_N)
        for row, ((source, image), label) in enumerate(zip(group, labels_N.tolist(), strict=True)):
            path = _free(folder, Path(source).stem)
            write_bytes(path, pair(image, maps[row]))
            told = {"label": bundle.classes[label], "probability": float(probs_NK[row, label])}
            explained.maps.append({"source": source, **told, "method": chosen, "path": str(path)})
        observe(Progress("explain", len(explained.maps), None))
    return explained


def _method(bundle: Bundle, observe: Observer) -> str:
    """The method where none was asked for; tells which it is, and why."""
    try:
        chosen, why = by_architecture(engines.load(_engine_of(bundle)).attributions(bundle))
    except (MissingExtra, NotSupported) as error:
        chosen, why = OCCLUSION, str(error)
    observe(Decision("method", chosen, f"{why}: {METHODS[chosen]}"))
    return chosen


def _engine_of(bundle: Bundle) -> str:
    return str(bundle.about["recipe"]["engine"])


def _readable(
    paths: Iterable[Path], preprocess: Preprocess, errors: list[dict[str, str]]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and what the network sees of them; those that cannot be read go to the errors."""
    for path in paths:
        try:
            stored = stored_pixels(path.read_bytes(), preprocess)
        except UnreadableImage as error:
            errors.append({"source": str(path), "reason": str(error)})
        except OSError as error:
            errors.append({"source": str(path), "reason": error.strerror or str(error)})
        else:
            yield str(path), network_pixels(stored[None], preprocess)[0]


def _free(folder: Path, stem: str) -> Path:
    """A name in the folder that nothing has yet."""
    path, number = folder / f"{stem}.png", 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{stem}-{number}.png"
    return path


def mistakes_explained(
    bundle: Bundle,
    recipe: Recipe,
    mistakes: Sequence[Mapping[str, Any]],
    used: Manifest,
    pixels: "Pixels",
    cache: Cache,
    *,
    out_of_fold: OutOfFold | None = None,
    observe: Observer = ignore,
) -> dict[str, dict[str, Any]]:
    """A report's `maps`: of the most confident mistakes what the model looked at for its wrong answer, and of the images that
    it was trained on those that it finds most alike.

    The model is the one that gave the answer: the bundle's, or with cross-validation that of the image's fold, trained on no
    image of the fold. Where a run did not keep the models of its folds, their mistakes are left out, and a note says so.

    Args:
        mistakes: the report's rows; the first `MOST_MISTAKES` are explained.
        used: the manifest's rows in use; `pixels` are theirs.
        out_of_fold: what the run kept of its cross-validation.
    """
    row_of = {source: row for row, source in enumerate(used.sources)}
    wanted = [each for each in mistakes if each["source"] in row_of][:MOST_MISTAKES]
    folds = used.column("fold")
    by_fold: dict[int | None, list[Mapping[str, Any]]] = defaultdict(list)
    for each in wanted:
        by_fold[folds[row_of[each["source"]]] if each["split"] == "cross_validation" else None].append(each)
    weights = {} if out_of_fold is None else out_of_fold.weights
    if lost := [fold for fold in by_fold if fold is not None and fold not in weights]:
        count = sum(len(by_fold.pop(fold)) for fold in lost)
        who = "1 mistake of a fold's model has" if count == 1 else f"{count} mistakes of the folds' models have"
        why = "this run did not keep those models, and the bundle was trained on these images; a new run keeps them"
        observe(Note(f"{who} neither a map nor nearest images: {why}"))
    if not by_fold:
        return {}
    explainer = _Explainer(bundle, recipe, used, pixels, cache, _method(bundle, observe), observe)
    told: dict[str, dict[str, Any]] = {}
    for fold, some in by_fold.items():
        trained: Trained = bundle
        if fold is not None:
            trained = engines.load(recipe.engine).assemble(recipe, bundle.preprocess, len(bundle.classes), weights[fold])
        told |= explainer.told(some, trained, fold)
    return {source: told[source] for each in wanted if (source := str(each["source"])) in told}


@dataclass(frozen=True, slots=True)
class _Explainer:
    """What all models that made a run's mistakes have in common."""

    bundle: Bundle
    recipe: Recipe
    used: Manifest
    pixels: "Pixels"
    cache: Cache
    method: str
    observe: Observer

    def told(self, mistakes: Sequence[Mapping[str, Any]], trained: "Trained", fold: int | None) -> dict[str, dict[str, Any]]:
        """Entries of `maps` for mistakes of one model, which was trained on all training images but those of the fold."""
        used, preprocess, classes = self.used, self.bundle.preprocess, self.bundle.classes
        learnt = zip(used.column("split"), used.column("fold"), strict=True)
        training = np.flatnonzero([split == "train" and (fold is None or own != fold) for split, own in learnt])
        row_of = {source: row for row, source in enumerate(used.sources)}
        sources = [str(each["source"]) for each in mistakes]
        rows_M = np.array([row_of[source] for source in sources], dtype=np.int64)
        images = network_pixels(self.pixels.read(rows_M), preprocess)
        labels_M = np.array([classes.index(each.get("surest") or each["predicted"]) for each in mistakes], dtype=np.int64)
        attribute: Attributor
        if self.method == OCCLUSION:
            attribute = partial(occlusion, _probabilities(trained, self.bundle, self.recipe.threads))
        else:
            attribute = engines.load(self.recipe.engine).attribute(trained, self.method)
        maps = attribute(images, labels_M)
        found: list[list[dict[str, Any]]] = [[] for _ in sources]
        with suppress(MissingExtra, NotSupported):  # without a framework there are no features, and the maps stand alone
            features_MD, features_ND, compared = self._features(trained, rows_M, training)
            labels = used.column("labels")
            names = [", ".join(labels[row]) for row in compared]
            found = nearest(features_MD, features_ND, sources, [used.sources[row] for row in compared], names)
        return {
            source: {"map": _address(small(image, heat, MAP_SIDE)), "nearest": rows, "fold": fold}
            for source, image, heat, rows in zip(sources, images, maps, found, strict=True)
        }

    def _features(
        self, trained: "Trained", rows_M: NDArray[np.int64], training: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Features of the rows and of training images, and which training rows these are.

        A network that stayed frozen has them in its store; else they are computed by the trained network.
        """
        engine, preprocess = engines.load(self.recipe.engine), self.bundle.preprocess
        if self.recipe.strategy == "features":
            frozen = engine.frozen(self.recipe, preprocess)
            contents = self.used.column("content")
            with RowStore(self.cache, "features", frozen.key, frozen.shape, np.float32) as store:
                stored = set(contents) - set(store.missing(contents))
                compared = np.array([row for row in training if contents[row] in stored], dtype=np.int64)
                if len(compared) and all(contents[row] in stored for row in rows_M):
                    ours, theirs = ([contents[row] for row in rows] for rows in (rows_M, compared))
                    return store.read(ours), store.read(theirs), compared
        embed = engine.embed(trained)
        if len(training) > MOST_COMPARED:
            few = f"{MOST_COMPARED:,} of {len(training):,} training images, evenly spread"
            self.observe(Note(f"mistakes are compared with {few}"))
            training = training[np.linspace(0, len(training) - 1, MOST_COMPARED).astype(np.int64)]
        everything = np.concatenate([rows_M, training])
        parts = []
        for start in range(0, len(everything), AT_ONCE):
            parts.append(embed(network_pixels(self.pixels.read(everything[start : start + AT_ONCE]), preprocess)))
            self.observe(Progress("neighbours", min(start + AT_ONCE, len(everything)), len(everything)))
        features = np.concatenate(parts)
        return features[: len(rows_M)], features[len(rows_M) :], training


def _probabilities(trained: "Trained", bundle: Bundle, threads: int) -> Predict:
    """The bundle's own, or those of an assembled network, calibrated as the bundle's are."""
    if isinstance(trained, Bundle):
        return predictor(trained)
    graph, calibrate = OnnxGraph(trained.graph, threads=threads), of_bundle(bundle)
    return lambda images_NSSC: calibrate(graph.outputs(images_NSSC)[LOGITS])


def _address(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
