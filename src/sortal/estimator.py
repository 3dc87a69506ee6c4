"""The scikit-learn estimator: fit, predict, predict_proba, score on arrays, files or PIL images.

Images in memory reach `sortal.train` as a Parquet file of PNGs, which loses nothing; what is fitted is the bundle that training
wrote, held as bytes. So an estimator and the command line make the same model of the same images, and a fitted estimator is
pickled as data.
"""

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sortal.bundle import ABOUT, GRAPH, WEIGHTS
from sortal.data import arrays, picture_table, png
from sortal.errors import DataError, MissingExtra
from sortal.evaluation.thresholds import decided
from sortal.recipe import Recipe

if TYPE_CHECKING:
    from sortal.workflows.predicting import Classifier

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import (
        assert_all_finite,
        check_array,
        check_consistent_length,
        check_is_fitted,
        check_non_negative,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise MissingExtra("scikit-learn", "torch") from error

GROUP_BYTES = 64 << 20  # of pixels on their way into the Parquet file
ARRAY_MODES = {"L", "LA", "RGB", "RGBA"}  # of PIL, whose pixels are uint8 channels
PNG_MODES = {"1", "I", "I;16", "P"}  # of PIL, that a PNG can hold besides
Labels = list[str] | list[list[str]]
"""One label an image, or a list of them."""


class HeldBundle:
    """A bundle in memory, as the bytes of its files; pickled as these, opened when first asked."""

    def __init__(self, members: Mapping[str, bytes]) -> None:
        self.members = dict(members)

    @classmethod
    def read(cls, folder: Path) -> "HeldBundle":
        """The files of a bundle's folder."""
        return cls({name: (folder / name).read_bytes() for name in (ABOUT, GRAPH, WEIGHTS)})

    def write(self, folder: Path) -> Path:
        """Write them to a folder that is not there yet, for `sortal predict` and `sortal.load`; returns it."""
        folder.mkdir(parents=True)
        for name, data in self.members.items():
            (folder / name).write_bytes(data)
        return folder

    @cached_property
    def classifier(self) -> "Classifier":
        """The bundle, checked and opened; raises `BundleError` if a byte has changed."""
        from sortal import workflows

        with tempfile.TemporaryDirectory(prefix="sortal-") as folder:
            opened: Classifier = workflows.load(self.write(Path(folder) / "bundle"))
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {"members": self.members}


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """An image classifier that trains as `sortal train` does.

    X is one of

    - numbers of shape (N, H, W) or (N, H, W, C), channels last: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA;
    - numbers of shape (N, F), one flattened image a row (see `image_shape`);
    - a sequence of N files: paths, or the bytes of encoded images;
    - a sequence of N PIL images, or of N uint8 arrays of different sizes.

    Numbers become pixels of 256 levels (see `value_range`). y holds N labels, strings or integers; or any number of labels an
    image, as zeros and ones of shape (N, K): then each column is a label, and `predict` gives zeros and ones by thresholds that
    were fitted on held-out images, `predict_proba` K probabilities that are independent.

    Args:
        recipe: a preset's name, a TOML file or a Recipe; None plans one from the images and the machine.
        settings: changes to the recipe, such as ('epochs=5', 'augment.flip=0').
        seed: the recipe's seed; None leaves it.
        out: folder that keeps the run, with its report; must be new or empty, so it suits a single fit and not a
            cross-validation. None keeps the bundle alone, in memory.
        image_shape: (H, W) or (H, W, C) of flattened images, of which one may be -1. None takes them for square and grey.
        value_range: the numbers that are black and white. None means 0 and 1 for floats and booleans, 0 and 255 for whole
            numbers; numbers outside are a mistake. 'fit' takes the smallest and largest number of the training images, and
            cuts off what lies outside later.

    Attributes:
        classes_: the labels, sorted, shape (K,); of several labels an image the numbers of y's columns.
        bundle_: the trained model, a `HeldBundle`; `bundle_.write(folder)` gives it to the command line.
        metrics_: split or 'cross_validation' to metrics, as `sortal train --json` prints them.
        value_range_: the smallest and largest number of the training images, where value_range='fit'.
        n_features_in_: F, where images came flattened.
    """

    def __init__(
        self,
        recipe: str | Path | Recipe | None = None,
        *,
        settings: Sequence[str] = (),
        seed: int | None = None,
        out: str | Path | None = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | Literal["fit"] | None = None,
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.seed = seed
        self.out = out
        self.image_shape = image_shape
        self.value_range = value_range

    def fit(self, X: ArrayLike | Sequence[Any], y: ArrayLike) -> Self:
        """Train on N images and their labels; raises `DataError` (also a ValueError) for what cannot be used."""
        from sortal import workflows

        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        images: list[Any] | NDArray[np.uint8] | None = _files_or_pictures(X)
        several = _is_indicator(y)
        names: Callable[[ArrayLike], tuple[NDArray[Any], Labels]] = _columns if several else _named
        settings = (*self.settings, *(["task=multi_label"] if several else []))
        if images is None:
            numbers, y = validate_data(self, X, y, dtype="numeric", allow_nd=True, multi_output=several)
            if numbers.ndim > 2:
                # scikit-learn has counted columns; of images that is the height, which may differ from one X to the next.
                del self.n_features_in_
            if self._black_is_zero() and numbers.size:  # images without pixels are refused below
                check_non_negative(numbers, type(self).__name__)
            classes, names_N = names(y)
            if self.value_range == "fit":
                self.value_range_ = (float(numbers.min()), float(numbers.max()))
            images = self._pixels(numbers)
        else:
            self.__dict__.pop("n_features_in_", None)
            check_consistent_length(images, y)
            classes, names_N = names(y)
        with tempfile.TemporaryDirectory(prefix="sortal-") as folder:
            data = _write(Path(folder), images, names_N)
            trained = workflows.train(
                data,
                recipe=self.recipe,
                settings=settings,
                out=Path(folder) / "run" if self.out is None else self.out,
                seed=self.seed,
            )
            self.bundle_ = HeldBundle.read(trained.run.bundle)
            self.metrics_ = trained.to_json()["metrics"]
        self.classes_ = classes
        self._y_dtype = np.asarray(y).dtype
        return self

    def predict_proba(self, X: ArrayLike | Sequence[Any]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 of shape (N, K), columns as in `classes_`; rows sum to 1, but of several labels.

        Raises `UnreadableImage` (also a ValueError) naming what cannot be read.
        """
        files, classifier = self._files(X), self.bundle_.classifier
        return classifier.predict_proba(files)[:, self._columns_of(classifier)]

    def predict(self, X: ArrayLike | Sequence[Any]) -> NDArray[Any]:
        """The most probable label of each image, shape (N,); zeros and ones of shape (N, K) where it may have several.

        Where the recipe's `decision` says so another label, or None where the model abstains.
        """
        check_is_fitted(self, "bundle_")
        classifier = self.bundle_.classifier
        if not classifier.bundle.decision.always_the_likeliest:
            label_of = {str(label): label for label in self.classes_} | {None: None}
            said = [label_of[None if label is None else str(label)] for label in classifier.predict(self._files(X))]
            return np.array(said, dtype=object if None in said else self.classes_.dtype)
        probs_NK = self.predict_proba(X)
        if not classifier.bundle.thresholds:
            return np.asarray(self.classes_[np.argmax(probs_NK, axis=1)])
        thresholds_K = np.array(classifier.bundle.thresholds)[self._columns_of(classifier)]
        return decided(probs_NK, thresholds_K).astype(self._y_dtype)

    def _files(self, X: ArrayLike | Sequence[Any]) -> Iterator[str | Path | bytes]:
        """Images as paths or encoded bytes; raises for what cannot be used, before the first is drawn."""
        check_is_fitted(self, "bundle_")
        images: Iterable[Any] | None = _files_or_pictures(X)
        if images is None:
            numbers = check_array(X, dtype="numeric", allow_nd=True, input_name="X")
            if numbers.ndim == 2:  # columns are compared with those of fit; images may have another height
                validate_data(self, X, reset=False, skip_check_array=True)
            images = _pngs(self._pixels(numbers))
        return (image if isinstance(image, str | Path) else _bytes(image) for image in images)

    def _columns_of(self, classifier: "Classifier") -> list[int]:
        """The place of each of `classes_` among the bundle's, which are sorted as text."""
        return [classifier.classes.index(str(label)) for label in self.classes_]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.classifier_tags.multi_label = True
        tags.input_tags.positive_only = self._black_is_zero()
        return tags

    def _black_is_zero(self) -> bool:
        """Whether numbers below zero are a mistake, by the meaning that `value_range` gives them."""
        return self.value_range is None or (self.value_range != "fit" and self.value_range[0] >= 0)

    def _pixels(self, numbers: NDArray[Any]) -> NDArray[np.uint8]:
        """Validated numbers as uint8 pixels of shape (N, H, W, C)."""
        images_NHWC = arrays.shaped(numbers, self.image_shape)
        if self.value_range == "fit":
            low, high = self.value_range_
            # Training images that are all of one value say nothing of the range; any will do.
            return arrays.to_uint8(images_NHWC, (low, high if high > low else low + 1), clip=True)
        return arrays.to_uint8(images_NHWC, self.value_range or arrays.natural_range(numbers))


def _named(y: ArrayLike) -> tuple[NDArray[Any], list[str]]:
    """The labels that occur, sorted, and each row's label as text; raises `DataError` where text cannot tell them apart."""
    y_N = column_or_1d(y, warn=True)
    assert_all_finite(y_N, input_name="y")
    check_classification_targets(y_N)
    classes, indices_N = np.unique(y_N, return_inverse=True)
    names = [str(label) for label in classes]
    if len(names) < 2:
        raise DataError(f"y has 1 class only, {names[0]!r}", hint="a classifier needs images of two classes or more")
    bad = [name for name in names if not name.strip() or name != name.strip() or "|" in name]
    if bad or len(set(names)) < len(names):
        what = f"the label {bad[0]!r}" if bad else "labels that are the same as text"
        raise DataError(f"y has {what}", hint="labels must differ as text, have no blanks around them and no '|' in them")
    return classes, [names[index] for index in indices_N]


def _is_indicator(y: Any) -> bool:
    """Whether y is zeros and ones of shape (N, K), K above 1."""
    dimensions = y.ndim if hasattr(y, "ndim") else np.ndim(y[0]) + 1 if isinstance(y, Sequence) and len(y) else 1
    return bool(dimensions == 2 and type_of_target(y) == "multilabel-indicator")


def _columns(y: ArrayLike) -> tuple[NDArray[Any], list[list[str]]]:
    """The numbers of the columns, and those of each row's ones as text; raises `DataError` for a column without a one."""
    y_NK = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    empty = np.flatnonzero(~y_NK.any(axis=0))
    if len(empty):
        raise DataError(f"no image has label {empty[0]} of y", hint="leave out columns that hold nothing but zeros")
    return np.arange(y_NK.shape[1]), [[str(k) for k in np.flatnonzero(row)] for row in y_NK]


def _files_or_pictures(X: Any) -> list[Any] | None:
    """X as a list of files or pictures, or None where it is to be one array of numbers."""
    if getattr(X, "ndim", 1) != 1 or not hasattr(X, "__len__") or not len(X):
        return None
    items = list(X)
    if all(_is_picture(item) for item in items):
        return items
    images = [item for item in items if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim in (2, 3)]
    sizes = {image.shape for image in images}
    return items if len(images) == len(items) and len(sizes) > 1 else None


def _is_picture(item: Any) -> bool:
    from PIL import Image

    return isinstance(item, str | os.PathLike | bytes | Image.Image)


def _write(folder: Path, images: NDArray[np.uint8] | list[Any], names: Labels) -> Path:
    """A file that `sortal train` takes: a CSV for paths, else a Parquet of the images' bytes."""
    several = isinstance(names[0], list)
    # A CSV cannot tell a forgotten label from none, so several labels always go as lists.
    if not several and isinstance(images, list) and all(isinstance(image, str | os.PathLike) for image in images):
        path = folder / "images.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["path", "label"])
            table.writerows((os.path.abspath(image), name) for image, name in zip(images, names, strict=True))
        return path
    size = images[0].nbytes if isinstance(images, np.ndarray) else GROUP_BYTES // picture_table.ROW_GROUP
    step = max(1, min(picture_table.ROW_GROUP, GROUP_BYTES // max(1, size)))

    def groups() -> Iterator[picture_table.Rows]:
        for start in range(0, len(images), step):
            some = images[start : start + step]
            encoded = png.encode(some) if isinstance(some, np.ndarray) else [_bytes(image) for image in some]
            yield encoded, names[start : start + step], [None] * len(encoded)

    return picture_table.write(folder / "images.parquet", groups(), several=several)


def _pngs(images_NHWC: NDArray[np.uint8]) -> Iterator[bytes]:
    """One PNG an image, as they are asked for."""
    for image_HWC in images_NHWC:
        yield from png.encode(image_HWC[None])


def _bytes(image: Any) -> bytes:
    """One image as the bytes of a file: encoded ones as they are, pictures in memory as a PNG."""
    from PIL import Image, ImageOps

    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if not isinstance(image, Image.Image):
        return png.encode(arrays.shaped(image[None]))[0]
    turned = ImageOps.exif_transpose(image)  # as for a file; a PNG would keep the mark, and not every reader heeds it there
    if turned.mode in ARRAY_MODES:  # the very bytes that the same picture as an array would give: random draws hang on them
        return _bytes(np.asarray(turned))
    if turned.mode not in PNG_MODES:
        turned = turned.convert("RGB")
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
