"""The estimator with a stand-in for training (nearest mean of pixels), through the same files; with the real one where slow."""

import csv
import io
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from sortal import workflows
from sortal.decision import ALWAYS_THE_LIKELIEST
from sortal.errors import DataError, RunExists
from sortal.estimator import HeldBundle, ImageClassifier
from sortal.recipe import Recipe

# ---------------------------------------------------------------------------------------------------- a stand-in for training


def small(data: bytes) -> np.ndarray:
    """An image's bytes as 8 x 8 grey numbers, the middle square of it as the real preprocessing takes it."""
    image = Image.open(io.BytesIO(data)).convert("L")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == 1:  # strips: scaled to 8 before the crop
        image = image.resize((image.width * 8, image.height * 8), Image.Resampling.BILINEAR)
        side, left, top = 8, (image.width - 8) // 2, (image.height - 8) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)).resize((8, 8)), np.float64).ravel()


def nearest_mean_train(data, *, recipe, settings, out, seed):
    """What `sortal.workflows.train` promises, with the mean image of each class for a model."""
    if Path(out).exists():
        raise RunExists(f"{out} already holds another run")
    if data.suffix == ".csv":
        with data.open(newline="") as file:
            header, *pairs = csv.reader(file)
        assert header == ["path", "label"]
        images, labels = [Path(path).read_bytes() for path, _ in pairs], [label for _, label in pairs]
    else:
        table = pq.read_table(data)
        images, labels = table["image"].to_pylist(), table["label"].to_pylist()
        assert table["split"].null_count == len(table)
    several = isinstance(labels[0], list)
    assert several == ("task=multi_label" in settings)
    classes = sorted({name for each in labels for name in (each if several else [each])})
    pixels = np.stack([small(image) for image in images])
    has_NK = np.array([[name in each if several else name == each for name in classes] for each in labels])
    bundle = Path(out) / "bundle"
    bundle.mkdir(parents=True)
    about = {"classes": classes, "means": [pixels[has_N].mean(axis=0).tolist() for has_N in has_NK.T]}
    about["thresholds"] = [0.4] * len(classes) if several else []
    about |= {"recipe": str(recipe), "settings": settings, "seed": seed}
    (bundle / "bundle.json").write_text(json.dumps(about))
    (bundle / "model.onnx").write_bytes(b"graph")
    (bundle / "weights.safetensors").write_bytes(b"weights")
    return SimpleNamespace(run=SimpleNamespace(bundle=bundle), to_json=lambda: {"metrics": {"train": {"images": len(images)}}})


class NearestMean:
    def __init__(self, about):
        self.classes, self.means_KD = tuple(about["classes"]), np.array(about["means"])
        self.bundle = SimpleNamespace(thresholds=tuple(about["thresholds"]), decision=ALWAYS_THE_LIKELIEST)

    def predict_proba(self, images):
        pixels = np.stack([small(image if isinstance(image, bytes) else Path(image).read_bytes()) for image in images])
        scores = -((pixels[:, None] - self.means_KD[None]) ** 2).mean(axis=2) / 100
        exp = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def quick(monkeypatch):
    """Replace training by the nearest mean."""
    monkeypatch.setitem(vars(workflows), "train", nearest_mean_train)
    monkeypatch.setitem(vars(workflows), "load", lambda path: NearestMean(json.loads((Path(path) / "bundle.json").read_text())))


@pytest.fixture
def dark_and_light():
    """Twelve grey images of 10 x 12 and their labels."""
    rng = np.random.default_rng(0)
    y = np.array(["dark", "light"] * 6)
    X = rng.integers(0, 80, (12, 10, 12), dtype=np.uint8) + np.where(y == "light", 150, 0)[:, None, None].astype(np.uint8)
    return X, y


# --------------------------------------------------------------------------------------------------- scikit-learn's own checks


def on_tables(**changes) -> ImageClassifier:
    """An estimator that sees a table's rows as strips of one pixel's height, which is as near as pictures come to tables."""
    return ImageClassifier(image_shape=(1, -1), value_range="fit", **changes)


@parametrize_with_checks([on_tables()])
def test_scikit_learn_finds_nothing_amiss(quick, estimator, check):
    check(estimator)


NOT_SQUARE = "its rows have 2, 3, 5 or 10 numbers, which are no square grey images, and image_shape is not set"
NOT_IN_RANGE = "its numbers go beyond 0..1, which are black and white of floats, and value_range is not set"
PLAIN_FAILURES = dict.fromkeys(
    [
        "check_fit_score_takes_y", "check_estimators_overwrite_params", "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self", "check_readonly_memmap_input", "check_estimators_dtypes", "check_dtype_object",
        "check_pipeline_consistency", "check_estimators_nan_inf", "check_estimators_pickle",
        "check_f_contiguous_array_estimator", "check_classifier_data_not_an_array",
        "check_classifiers_classes", "check_classifiers_train", "check_supervised_y_2d",
        "check_methods_sample_order_invariance", "check_methods_subset_invariance", "check_dict_unchanged",
        "check_fit_idempotent", "check_fit_check_is_fitted", "check_fit2d_predict1d",
        "check_classifiers_multilabel_representation_invariance", "check_classifiers_multilabel_output_format_predict",
        "check_classifiers_multilabel_output_format_predict_proba",
        "check_classifiers_multilabel_output_format_decision_function",
    ],
    NOT_SQUARE,
)  # fmt: skip
PLAIN_FAILURES |= dict.fromkeys(
    ["check_n_features_in_after_fitting", "check_fit2d_1feature", "check_n_features_in"], NOT_IN_RANGE
)


@parametrize_with_checks([ImageClassifier()], expected_failed_checks=lambda estimator: PLAIN_FAILURES, xfail_strict=True)
def test_as_it_comes_it_fails_only_where_a_table_is_no_picture(quick, estimator, check):
    check(estimator)


# ------------------------------------------------------------------------------------------------------------- kinds of input


def png_bytes(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def trained_on(estimator) -> dict:
    return json.loads(estimator.bundle_.members["bundle.json"])


def as_arrays(X, folder):
    return X


def as_colour_arrays(X, folder):
    return np.repeat(X[..., None], 3, axis=3)


def as_floats(X, folder):
    return X / 255


def as_int_lists(X, folder):
    return X.tolist()


def as_pictures(X, folder):
    return [Image.fromarray(image) for image in X]


def as_bytes(X, folder):
    return [png_bytes(image) for image in X]


def as_paths(X, folder):
    paths = [folder / f"a, {number}.png" for number in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        path.write_bytes(png_bytes(image))
    return [str(path) for path in paths]


FORMS = [as_arrays, as_colour_arrays, as_floats, as_int_lists, as_pictures, as_bytes, as_paths]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_make_the_same_model_in_whatever_form_they_come(quick, dark_and_light, tmp_path, form):
    X, y = dark_and_light
    plain = ImageClassifier().fit(X, y)
    fitted = ImageClassifier().fit(form(X, tmp_path), y)
    assert trained_on(fitted) == trained_on(plain)
    # ... and asking in another form than that of training gives the same answers
    np.testing.assert_array_equal(fitted.predict_proba(X), plain.predict_proba(form(X, tmp_path)))
    assert fitted.predict(X).tolist() == y.tolist()
    assert fitted.score(X, y) == 1.0


def test_a_numpy_array_of_paths_is_taken_and_a_relative_path_means_the_file_here(quick, dark_and_light, tmp_path, monkeypatch):
    X, y = dark_and_light
    paths = [Path(path).name for path in as_paths(X, tmp_path)]
    monkeypatch.chdir(tmp_path)
    assert ImageClassifier().fit(np.array(paths), y).predict(np.array(paths[:2])).tolist() == y[:2].tolist()


def test_arrays_of_different_sizes_are_taken_as_a_list(quick):
    X = [np.full((9, 8 + number), 250 * (number % 2), np.uint8) for number in range(6)]
    y = [number % 2 for number in range(6)]
    assert ImageClassifier().fit(X, y).predict(X).tolist() == y


def test_a_picture_with_an_exif_turn_is_turned_as_a_file_would_be(quick):
    image = Image.fromarray(np.repeat([[0, 255]], 8, axis=0).repeat(4, axis=1).astype(np.uint8))
    image.getexif()[0x0112] = 3  # upside down
    upright = Image.fromarray(np.asarray(image)[::-1, ::-1])
    means = [trained_on(ImageClassifier().fit([one, upright, image], [1, 0, 0]))["means"] for one in (image, upright)]
    assert means[0] == means[1]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "F", "RGBa"])
def test_a_picture_of_a_mode_that_png_lacks_is_converted(quick, dark_and_light, mode):
    if mode == "RGBa":
        dark, light = (Image.new("RGBA", (8, 8), (level,) * 3 + (255,)).convert("RGBa") for level in (10, 240))
    else:
        dark, light = (
            Image.new("RGB", (8, 8), (level,) * 3).convert("L" if mode == "F" else "RGB").convert(mode) for level in (10, 240)
        )
    assert ImageClassifier().fit([dark, light, dark], [0, 1, 0]).predict([light, dark]).tolist() == [1, 0]


# ------------------------------------------------------------------------------------------------------------------ numbers


def test_flattened_square_images_need_no_shape_and_digits_are_learnt(quick):
    X, y = load_digits(return_X_y=True)  # 64 numbers from 0 to 16
    fitted = ImageClassifier(value_range=(0, 16)).fit(X[:600], y[:600])
    assert fitted.n_features_in_ == 64
    assert fitted.score(X[600:1000], y[600:1000]) > 0.8  # of ten classes


def test_flattened_images_of_another_shape_are_unfolded_as_said(quick):
    X = np.zeros((4, 6 * 8 * 3), np.uint8)
    X[1::2] = 255
    assert ImageClassifier(image_shape=(6, -1, 3)).fit(X, [0, 1, 0, 1]).predict(X).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("X", "changes", "words"),
    [
        (np.zeros((4, 8)), {}, "not square grey images"),
        (np.zeros((4, 9)), {"image_shape": (2, 4)}, "do not make images"),
        (np.zeros((4, 9)), {"image_shape": (9,)}, "image_shape must be"),
        (np.zeros((4, 3, 8, 8)), {}, "images of 8 channels"),
        (np.zeros((4, 1, 1, 1, 1)), {}, "expected images of shape"),
        (np.zeros((4, 0, 8)), {}, "expected images of shape"),
        (np.full((4, 8, 8), 2.0), {}, "values from 2 to 2, expected 0 to 1"),
        (np.full((4, 8, 8), -1), {}, "Negative values"),
        (np.full((4, 8, 8), 256), {}, "values from 256 to 256, expected 0 to 255"),
        (np.full((4, 8, 8), -2.0), {"value_range": (-1, 1)}, "values from -2 to -2, expected -1 to 1"),
        (np.full((4, 8, 8), 0.5), {"value_range": (1, 0)}, "smaller to a larger"),
    ],
)
def test_numbers_that_make_no_pictures_are_refused_with_the_reason(quick, X, changes, words):
    with pytest.raises(ValueError, match=words):
        ImageClassifier(**changes).fit(X, [0, 1, 0, 1])


def test_channels_that_come_first_are_told_how_to_turn(quick):
    with pytest.raises(DataError) as caught:
        ImageClassifier().fit(np.zeros((4, 3, 8, 8)), [0, 1, 0, 1])
    assert "X.transpose(0, 2, 3, 1)" in caught.value.hint


def test_a_learnt_range_is_that_of_training_and_cuts_off_what_lies_beyond(quick):
    X = np.stack([np.full((8, 8), -7.0), np.full((8, 8), 5.0)])
    fitted = ImageClassifier(value_range="fit").fit(X, ["low", "high"])
    assert fitted.value_range_ == (-7, 5)
    assert sorted(np.mean(trained_on(fitted)["means"], axis=1).tolist()) == [0, 255]
    assert fitted.predict(X * 100).tolist() == ["low", "high"]


def test_images_that_are_all_of_one_value_still_make_pictures_where_the_range_is_learnt(quick):
    assert ImageClassifier(value_range="fit").fit(np.full((4, 8, 8), 3.0), [0, 1, 0, 1]).value_range_ == (3, 3)


def test_images_of_another_height_than_those_of_training_are_answered(quick, dark_and_light):
    X, y = dark_and_light
    fitted = ImageClassifier().fit(X, y)
    assert not hasattr(fitted, "n_features_in_")
    assert fitted.predict(X[:, :9]).tolist() == y.tolist()


# ------------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("y", [[3, 10] * 6, ["b", "a"] * 6, [True, False] * 6, np.array(["x", "y"] * 6, dtype=object)])
def test_labels_come_back_as_they_were_given_in_sorted_order(quick, dark_and_light, y):
    X, _ = dark_and_light
    fitted = ImageClassifier().fit(X, y)
    assert fitted.classes_.tolist() == sorted(set(y))  # 3 before 10, though '10' stands before '3' as text
    assert fitted.predict(X).tolist() == list(y)
    assert fitted.predict(X).dtype == np.asarray(y).dtype


@pytest.mark.parametrize("form", ["arrays", "paths"])
def test_zeros_and_ones_are_several_labels_and_come_back_as_such(quick, dark_and_light, tmp_path, form):
    X, names = dark_and_light
    dark = (names == "dark").astype(np.int32)
    # Twelve columns: as text the tenth stands before the second.
    y = np.stack([dark, *[1 - dark] * 9, dark, 1 - dark], axis=1)
    y[0] = 0
    images = as_paths(X, tmp_path) if form == "paths" else X
    fitted = ImageClassifier().fit(images, y)
    assert fitted.classes_.tolist() == list(range(12))
    assert fitted.predict_proba(images).shape == (12, 12)
    said = fitted.predict(images)
    assert said.dtype == y.dtype
    assert set(np.unique(said)) <= {0, 1}
    assert (said[1:, 0] == said[1:, 10]).all()
    assert (said[1:, 2] == said[1:, 11]).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(images), said)


def test_a_label_that_no_image_has_is_refused(quick, dark_and_light):
    with pytest.raises(DataError, match="no image has label 1 of y"):
        ImageClassifier().fit(dark_and_light[0], [[1, 0, 1], [0, 0, 1]] * 6)


@pytest.mark.parametrize("label", ["", " a", "a|b"])
def test_labels_that_a_data_set_cannot_hold_are_refused(quick, dark_and_light, label):
    with pytest.raises(DataError, match="y has the label"):
        ImageClassifier().fit(dark_and_light[0], ["ok", label] * 6)


def test_another_number_of_labels_than_of_files_is_a_mistake(quick, dark_and_light, tmp_path):
    X, y = dark_and_light
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ImageClassifier().fit(as_paths(X, tmp_path), y[:-1])


def test_a_refused_fit_leaves_the_fitted_model_as_it_was(quick, dark_and_light):
    X, y = dark_and_light
    fitted = ImageClassifier().fit(X, y)
    with pytest.raises(DataError):
        fitted.fit(X, ["one"] * 12)
    assert fitted.predict(X).tolist() == y.tolist()


# --------------------------------------------------------------------------------------------------- life with scikit-learn


def test_it_works_in_cross_validation_in_a_grid_search_and_in_a_pipeline(quick, dark_and_light, tmp_path):
    X, y = dark_and_light
    for images in (X, as_pictures(X, tmp_path), as_paths(X, tmp_path)):
        assert cross_val_score(ImageClassifier(), images, y, cv=3).tolist() == [1, 1, 1]
    search = GridSearchCV(ImageClassifier(), {"settings": [("epochs=1",), ("epochs=2",)]}, cv=2).fit(X, y)
    assert search.best_params_ == {"settings": ("epochs=1",)}
    assert trained_on(search.best_estimator_)["settings"] == ["epochs=1"]
    pipeline = make_pipeline(FunctionTransformer(lambda X: X[:, 2:8, 2:8]), ImageClassifier()).fit(X, y)
    assert pipeline.score(X, y) == 1


def test_all_that_is_asked_for_reaches_training(quick, dark_and_light, tmp_path):
    X, y = dark_and_light
    recipe = Recipe(model="lenet5")
    fitted = clone(ImageClassifier(recipe, settings=["epochs=1"], seed=7, out=tmp_path / "run")).fit(X, y)
    assert trained_on(fitted).items() >= {"recipe": str(recipe), "settings": ["epochs=1"], "seed": 7}.items()
    assert (tmp_path / "run" / "bundle" / "bundle.json").is_file()
    assert fitted.metrics_ == {"train": {"images": 12}}
    with pytest.raises(RunExists):
        fitted.fit(X, y)


def test_a_fitted_estimator_is_pickled_as_the_bytes_of_its_bundle(quick, dark_and_light, tmp_path):
    X, y = dark_and_light
    fitted = ImageClassifier().fit(X, y)
    fitted.predict(X)  # the opened model must not get into the pickle
    again = pickle.loads(pickle.dumps(fitted))
    assert vars(again.bundle_).keys() == {"members"}
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert HeldBundle.read(again.bundle_.write(tmp_path / "b")).members == fitted.bundle_.members


def test_an_estimator_that_is_not_fitted_says_so(dark_and_light):
    for ask in (ImageClassifier().predict, ImageClassifier().predict_proba):
        with pytest.raises(NotFittedError):
            ask(dark_and_light[0])


def test_nothing_is_left_in_the_temporary_folder(quick, dark_and_light, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ImageClassifier().fit(*dark_and_light).predict(dark_and_light[0])
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- real training

TINY = Recipe.model_validate(
    {
        "model": "compact_s", "strategy": "scratch", "weights": "none", "channels": 1, "image_size": 8, "resize": 8,
        "precision": "float32", "layout": "nchw", "runtime": "torch", "threads": 1, "epochs": 12, "batch_size": 16,
        "learning_rate": 0.01, "split": {"val": 0.2},
    }
)  # fmt: skip


@pytest.fixture
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("SORTAL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def forty():
    """Forty grey images of 12 x 16, dark ones and light ones."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    return rng.integers(0, 80, (40, 12, 16), dtype=np.uint8) + (150 * y[:, None, None]).astype(np.uint8), y


@pytest.mark.slow
def test_real_training_learns_is_pickled_and_answers_the_same_in_every_form(own_cache, forty, tmp_path):
    X, y = forty
    fitted = ImageClassifier(TINY, seed=3).fit(X, y)
    assert fitted.score(X, y) == 1
    assert fitted.metrics_["val"]["images"] == 8
    probs = fitted.predict_proba(X)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    for again in (pickle.loads(pickle.dumps(fitted)), ImageClassifier(TINY, seed=3).fit(as_pictures(X, tmp_path), y)):
        for form in FORMS:
            folder = tmp_path / f"{id(again)}-{form.__name__}"
            folder.mkdir()
            np.testing.assert_array_equal(again.predict_proba(form(X, folder)), probs)
    assert workflows.load(fitted.bundle_.write(tmp_path / "bundle")).classes == ("0", "1")


@pytest.mark.slow
def test_an_estimator_whose_recipe_lets_it_abstain_says_none(own_cache, forty, tmp_path):
    X, y = forty
    settings = (f"decision.costs={{{y[0]}={{{y[-1]}=2.0}}}}", "decision.abstain_cost=1e-9")
    silent = ImageClassifier(TINY, settings=settings).fit(X, y)
    assert silent.predict(X[:3]).tolist() == [None] * 3
    assert silent.predict_proba(X[:3]).shape == (3, 2)


@pytest.mark.slow
def test_real_training_of_several_labels_learns_each(own_cache, forty):
    X, y = forty
    fitted = ImageClassifier(TINY, seed=3).fit(X, np.stack([y, 1 - y, np.ones_like(y)], axis=1)[:, [2, 0, 1]])
    assert fitted.predict(X)[:, 1:].tolist() == np.stack([y, 1 - y], axis=1).tolist()
    assert "mean_average_precision" in fitted.metrics_["val"]


@pytest.mark.slow
def test_real_training_is_cross_validated(own_cache, forty, tmp_path):
    X, y = forty
    assert cross_val_score(ImageClassifier(TINY), as_paths(X, tmp_path), y, cv=2).tolist() == [1, 1]


@pytest.mark.slow
@parametrize_with_checks([on_tables(recipe=TINY)])
def test_scikit_learn_finds_nothing_amiss_in_real_training(own_cache, estimator, check):
    check(estimator)
