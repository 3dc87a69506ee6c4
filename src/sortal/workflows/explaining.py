"""Explaining: what a model looked at, for images that a person names and for the mistakes that a report shows."""

import base64
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
from sortal.engines.onnx import OnnxGraph, predictor
from sortal.errors import MissingExtra, NotSupported, UnreadableImage
from sortal.events import Decision, Note, Observer, Progress, ignore
from sortal.explanation.methods import METHODS, OCCLUSION, by_architecture, known
from sortal.explanation.neighbours import nearest
from sortal.explanation.occlusion import occlusion
from sortal.explanation.overlay import pair, small
from sortal.files import write_bytes
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, network_pixels, stored_pixels
from sortal.recipe import Recipe
from sortal.run import find_bundle
from sortal.workflows.predicting import walk

if TYPE_CHECKING:
    from sortal.data.samples import Pixels
    from sortal.engines.protocol import Attributor, Engine

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
    chosen, attribute = _attributor(bundle, graph, method, observe)
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


def _attributor(bundle: Bundle, graph: OnnxGraph, method: str | None, observe: Observer) -> "tuple[str, Attributor]":
    """The method, and what makes maps by it; tells which was chosen, and why, where none was asked for."""
    if method is not None and known(method) == OCCLUSION:
        return OCCLUSION, partial(occlusion, graph)
    if method is not None:
        return method, engines.load(_engine_of(bundle)).attribute(bundle, method)
    try:
        engine = engines.load(_engine_of(bundle))
        chosen, why = by_architecture(engine.attributions(bundle))
    except (MissingExtra, NotSupported) as error:
        chosen, why = OCCLUSION, str(error)
    observe(Decision("method", chosen, f"{why}: {METHODS[chosen]}"))
    return chosen, partial(occlusion, graph) if chosen == OCCLUSION else engine.attribute(bundle, chosen)


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
    observe: Observer = ignore,
) -> dict[str, dict[str, Any]]:
    """A report's `maps`: of the most confident mistakes what the model looked at for its wrong answer, and the training images
    that it finds most alike.

    Args:
        mistakes: the report's rows; the first `MOST_MISTAKES` are explained.
        used: the manifest's rows in use; `pixels` are theirs.
    """
    row_of = {source: row for row, source in enumerate(used.sources)}
    wanted = [each for each in mistakes if each["source"] in row_of][:MOST_MISTAKES]
    if not wanted:
        return {}
    sources = [str(each["source"]) for each in wanted]
    rows_M = np.array([row_of[source] for source in sources], dtype=np.int64)
    images = network_pixels(pixels.read(rows_M), bundle.preprocess)
    labels_M = np.array([bundle.classes.index(each.get("surest") or each["predicted"]) for each in wanted], dtype=np.int64)
    _, attribute = _attributor(bundle, predictor(bundle), None, observe)
    maps = attribute(images, labels_M)
    told: dict[str, dict[str, Any]] = {
        source: {"map": _address(small(image, heat, MAP_SIDE)), "nearest": []}
        for source, image, heat in zip(sources, images, maps, strict=True)
    }
    training = np.flatnonzero(np.array(used.column("split")) == "train")
    with suppress(MissingExtra, NotSupported):  # without a framework there are no features, and the maps stand alone
        engine = engines.load(recipe.engine)
        neighbours_M, neighbours_N, compared = _features(engine, bundle, recipe, used, pixels, rows_M, training, cache, observe)
        labels = used.column("labels")
        names = [", ".join(labels[row]) for row in compared]
        found = nearest(neighbours_M, neighbours_N, sources, [used.sources[row] for row in compared], names)
        for source, rows in zip(sources, found, strict=True):
            told[source]["nearest"] = rows
    return told


def _features(
    engine: "Engine",
    bundle: Bundle,
    recipe: Recipe,
    used: Manifest,
    pixels: "Pixels",
    rows_M: NDArray[np.int64],
    training: NDArray[np.int64],
    cache: Cache,
    observe: Observer,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Features of the rows and of training images, and which training rows these are.

    A network that stayed frozen has them in its store; else they are computed by the trained network.
    """
    if recipe.strategy == "features":
        frozen = engine.frozen(recipe, bundle.preprocess)
        contents = used.column("content")
        with RowStore(cache, "features", frozen.key, frozen.shape, np.float32) as store:
            stored = set(contents) - set(store.missing(contents))
            compared = np.array([row for row in training if contents[row] in stored], dtype=np.int64)
            if len(compared) and all(contents[row] in stored for row in rows_M):
                return store.read([contents[row] for row in rows_M]), store.read([contents[row] for row in compared]), compared
    embed = engine.embed(bundle)
    if len(training) > MOST_COMPARED:
        observe(Note(f"mistakes are compared with {MOST_COMPARED:,} of {len(training):,} training images, evenly spread"))
        training = training[np.linspace(0, len(training) - 1, MOST_COMPARED).astype(np.int64)]
    everything = np.concatenate([rows_M, training])
    parts = []
    for start in range(0, len(everything), AT_ONCE):
        parts.append(embed(network_pixels(pixels.read(everything[start : start + AT_ONCE]), bundle.preprocess)))
        observe(Progress("neighbours", min(start + AT_ONCE, len(everything)), len(everything)))
    features = np.concatenate(parts)
    return features[: len(rows_M)], features[len(rows_M) :], training


def _address(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
