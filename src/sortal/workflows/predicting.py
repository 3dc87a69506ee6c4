"""Predict: a bundle and images in, labels out. No training framework and no table library is imported on this path."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.engines.onnx import OnnxGraph, chunk_size, predictor
from sortal.errors import DataError, UnreadableImage
from sortal.evaluation.task import task
from sortal.events import Observer, Progress, ignore
from sortal.predictions import Predictions
from sortal.preprocess import network_pixels, stored_pixels
from sortal.run import find_bundle

ImageLike = str | Path | bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of one image, or why it could not be asked."""

    source: str
    probs_K: NDArray[np.float32] | None
    reason: str = ""
    distance: float | None = None
    """The graph's output `novelty`; None where it has none."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Predictions in the order of the images, and the images that could not be read."""

    bundle: Bundle
    top: int
    answers: list[Answer] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.bundle.classes

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """The contract's prediction objects: source, label, probability, top; of several labels source, labels, top."""
        return [as_prediction(answer, self.bundle, self.top) for answer in self.answers if answer.probs_K is not None]

    @property
    def errors(self) -> list[dict[str, str]]:
        """The contract's error objects: source, reason."""
        return [{"source": answer.source, "reason": answer.reason} for answer in self.answers if answer.probs_K is None]

    def to_json(self) -> dict[str, Any]:
        return {"predictions": self.predictions, "errors": self.errors}

    def to_predictions(self) -> Predictions:
        """As arrays, labels unknown; images that could not be read are not among them."""
        told = [answer for answer in self.answers if answer.probs_K is not None]
        probs = [answer.probs_K for answer in told if answer.probs_K is not None]
        probs_NK = np.stack(probs) if probs else np.zeros((0, len(self.classes)), np.float32)
        decide = task(self.bundle.task)
        return Predictions(
            sources=tuple(answer.source for answer in told),
            classes=self.classes,
            probs_NK=probs_NK,
            labels_N=decide.unknown(*probs_NK.shape),
            splits_N=("",) * len(told),
            said_NK=decide.said(probs_NK, self.bundle.thresholds),
            thresholds_K=self.bundle.thresholds,
        )


def as_prediction(answer: Answer, bundle: Bundle, top: int) -> dict[str, Any]:
    """One answer in the contract's words."""
    assert answer.probs_K is not None
    classes, order = bundle.classes, np.argsort(-answer.probs_K, kind="stable")
    ranked = [{"label": classes[k], "probability": float(answer.probs_K[k])} for k in order[:top]]
    said_1K = task(bundle.task).said(answer.probs_K[None], bundle.thresholds)
    if said_1K is not None:
        return {"source": answer.source, "labels": [classes[k] for k in order if said_1K[0, k]], "top": ranked}
    (label,) = bundle.labels(answer.probs_K[None], None if answer.distance is None else np.array([answer.distance]))
    said = order[0] if label is None else classes.index(label)
    told: dict[str, Any] = {"source": answer.source, "label": label}
    told |= {"probability": float(answer.probs_K[said]), "top": ranked}
    if bundle.conformal is not None:
        (told["set"],) = bundle.conformal.sets(answer.probs_K[None], classes)
    if bundle.novelty is not None and answer.distance is not None:
        told["novelty"] = float(bundle.novelty.shares(np.array([answer.distance]))[0])
    return told


class Classifier:
    """A trained model in memory; made by `sortal.load`."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.classes = bundle.classes
        self._graph: OnnxGraph = predictor(bundle)

    def stream(self, images: Iterable[ImageLike], *, observe: Observer = ignore) -> Iterator[Answer]:
        """One answer an image, in order; decoding runs ahead of the network. Memory does not grow with their number."""
        size = chunk_size((self.bundle.preprocess.size, self.bundle.preprocess.size))
        workers = max(2, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            done = 0
            for group in _ahead(pool, self._pixels, images, size * workers):
                pixels = [item for item in group if not isinstance(item, Answer)]
                told = self._told(pixels)
                for item in group:
                    yield item if isinstance(item, Answer) else next(told)
                done += len(group)
                observe(Progress("predict", done, None))

    def _told(self, images: list[tuple[str, NDArray[np.uint8]]]) -> Iterator[Answer]:
        if not images:
            return
        found = self._graph.outputs(np.stack([pixels for _, pixels in images]))
        distances_N = found.get("novelty")
        for row, (name, _) in enumerate(images):
            yield Answer(
                name, found[self._graph.names[0]][row], distance=None if distances_N is None else float(distances_N[row])
            )

    def _pixels(self, image: ImageLike) -> "Answer | tuple[str, NDArray[np.uint8]]":
        name = str(image) if isinstance(image, str | Path) else "<image>"
        try:
            if isinstance(image, np.ndarray):
                data = _encoded(image)
            else:
                data = image if isinstance(image, bytes) else Path(image).read_bytes()
            stored = stored_pixels(data, self.bundle.preprocess)
        except UnreadableImage as error:
            return Answer(name, None, str(error))
        except OSError as error:
            return Answer(name, None, error.strerror or str(error))
        return name, network_pixels(stored[None], self.bundle.preprocess)[0]

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, top: int = 1
    ) -> "list[str] | list[list[str]] | list[list[dict[str, Any]]]":
        """The label of each image, or the list of its labels where it may have several; with `top` > 1 the ranked labels with
        their probabilities.

        Images are paths, encoded bytes, or uint8 arrays (H, W, 3) or (H, W). Raises `UnreadableImage` for those that cannot be
        read, by name.
        """
        answers = self.answers(images)
        told = [as_prediction(answer, self.bundle, top) for answer in answers]
        if top > 1:
            return [prediction["top"] for prediction in told]
        return [prediction["labels"] if "labels" in prediction else prediction["label"] for prediction in told]

    def predict_proba(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 of shape (N, K); columns in the order of `classes`. Rows sum to one, but where an
        image may have several labels: there each is for itself.
        """
        probs = [answer.probs_K for answer in self.answers(images) if answer.probs_K is not None]
        return np.stack(probs) if probs else np.zeros((0, len(self.classes)), dtype=np.float32)

    def answers(self, images: ImageLike | Iterable[ImageLike]) -> list[Answer]:
        """One answer an image; raises `UnreadableImage` for those that cannot be read, by name."""
        single = isinstance(images, str | Path | bytes) or (
            isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype == np.uint8
        )
        answers = list(self.stream([images] if single else images))  # type: ignore[list-item, arg-type]
        bad = [f"{answer.source}: {answer.reason}" for answer in answers if answer.probs_K is None]
        if bad:
            raise UnreadableImage("; ".join(bad), hint="leave these out, or use `sortal predict`, which answers the rest")
        return answers


def load(target: str | Path) -> Classifier:
    """The classifier of a run or a bundle; raises `BundleError` if a byte of it has changed."""
    return Classifier(Bundle.load(find_bundle(Path(target))))


def predict(target: str | Path, images: Iterable[str | Path], *, top: int = 5, observe: Observer = ignore) -> Answers:
    """Labels of images; folders among them are walked. An image that cannot be read has an error, and the rest are answered."""
    classifier = load(target)
    answers = list(classifier.stream(walk(images), observe=observe))
    return Answers(classifier.bundle, top, answers)


def predict_stream(
    target: str | Path, images: Iterable[str | Path], *, top: int = 5, observe: Observer = ignore
) -> Iterator[dict[str, Any]]:
    """As `predict`, one object at a time in the contract's words: a prediction, or an error (it has the key 'reason')."""
    classifier = load(target)
    for answer in classifier.stream(walk(images), observe=observe):
        if answer.probs_K is None:
            yield {"source": answer.source, "reason": answer.reason}
        else:
            yield as_prediction(answer, classifier.bundle, top)


def walk(images: Iterable[str | Path]) -> Iterator[Path]:
    """Files as they are, and every file of a folder, sorted; hidden files of folders are passed over."""
    found_any = False
    for image in images:
        found_any = True
        path = Path(image)
        if not path.is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))
    if not found_any:
        raise DataError(
            "no images were named",
            hint="name files or folders; `sortal predict` also reads names from standard input, with -",
        )


def _ahead(pool: ThreadPoolExecutor, work: Any, items: Iterable[ImageLike], size: int) -> Iterator[list[Any]]:
    """Groups of `size` results in order, the next group under way while one is being used."""
    source = iter(items)
    pending = [pool.submit(work, item) for _, item in zip(range(size), source, strict=False)]
    while pending:
        following = [pool.submit(work, item) for _, item in zip(range(size), source, strict=False)]
        yield [future.result() for future in pending]
        pending = following


def _encoded(image: NDArray[np.uint8]) -> bytes:
    """An array as a file's bytes, so that it takes the same way as any file."""
    import io

    from PIL import Image

    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise UnreadableImage(f"expected uint8 of shape (H, W) or (H, W, 3), got {image.dtype} of shape {image.shape}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
