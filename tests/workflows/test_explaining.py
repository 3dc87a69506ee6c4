"""Explaining from end to end: runs and bundles, with a framework and without one, for a person and for a report."""

import base64
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal import bundle as bundles
from sortal import engines
from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.store import Cache
from sortal.engines.graphs import LOGITS
from sortal.engines.onnx import OnnxGraph, predictor
from sortal.errors import DataError, MissingExtra, NotSupported, UnknownName
from sortal.evaluation.calibrators import of_bundle
from sortal.evaluation.corruptions import CORRUPTIONS
from sortal.events import Decision, Event, Note, Progress
from sortal.explanation.occlusion import occlusion
from sortal.explanation.overlay import small
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import network_pixels
from sortal.recipe import Recipe, Split
from sortal.run import Run
from sortal.training.crossval import kept
from sortal.workflows import explain, predict, report, reporting, train
from sortal.workflows.explaining import MAP_SIDE, MOST_MISTAKES, _address, mistakes_explained

Make = Callable[..., Path]

RECIPE = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=16,
    epochs=3,
    batch_size=8,
    learning_rate=2e-3,
    precision="float32",
    layout="nchw",
    split=Split(val=0.2, test=0.3),
)
FROZEN = RECIPE.model_copy(
    update={"strategy": "features", "model": "resnet10t", "image_size": 32, "runtime": "onnx", "split": Split(folds=3)}
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and its data."""
    data = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for number, label in enumerate(("blue", "green", "red")):
        (data / "squares" / label).mkdir(parents=True)
        for index in range(14):
            pixels = random.integers(0, 140, (16, 16, 3), dtype=np.uint8)
            pixels[:, :, 2 - number] += 110 if index else 0  # the first of each class looks like nothing
            Image.fromarray(pixels).save(data / "squares" / label / f"{index:03d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SORTAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(data / "squares", recipe=RECIPE, out=data / "run").run.path, data / "squares"


def test_each_image_gets_a_picture_and_a_row(run: tuple[Path, Path], tmp_path: Path) -> None:
    path, data = run
    events: list[Event] = []
    images = [data / "red" / "003.png", data / "blue" / "004.png"]
    explained = explain(path, images, out=tmp_path / "out", observe=events.append)
    assert explained.errors == []
    assert [row["source"] for row in explained.maps] == [str(image) for image in images]
    for row in explained.maps:
        assert set(row) == {"source", "label", "probability", "method", "path"}
        assert row["method"] == "grad_cam"
        assert row["label"] in ("blue", "green", "red")
        assert 1 / 3 <= row["probability"] <= 1
        with Image.open(row["path"]) as picture:
            assert (picture.format, picture.size) == ("PNG", (2 * 448 + 8, 448))
    told = [event for event in events if isinstance(event, Decision)]
    assert [(event.key, event.value) for event in told] == [("method", "grad_cam")]
    assert "convolutional" in told[0].reason
    assert any(isinstance(event, Progress) for event in events)


@pytest.mark.parametrize("abstain_cost", [None, 1e-9])
def test_the_map_is_of_the_label_that_the_rule_gives_or_would_give(
    run: tuple[Path, Path], tmp_path: Path, abstain_cost: float | None
) -> None:
    path, data = run
    trained = Bundle.load(path / "bundle")
    decision = {"threshold": 0.0, "costs": [[0, 1, 1], [1, 0, 1], [1e9, 1e9, 0]], "abstain_cost": abstain_cost, "novelty": 1.0}
    about = {key: value for key, value in trained.about.items() if key not in ("format", "members")} | {"decision": decision}
    files = {"graph": trained.graph.read_bytes(), "weights": trained.weights.read_bytes()}
    costly = bundles.write(tmp_path / "costly" / "bundle", **files, about=about).path
    image = [data / "blue" / "004.png"]
    (likeliest,) = explain(path, image, method="occlusion", out=tmp_path / "plain").maps
    (row,) = explain(costly, image, method="occlusion", out=tmp_path / "out").maps
    (prediction,) = predict(costly, image).predictions
    assert prediction["label"] == ("red" if abstain_cost is None else None)
    assert (likeliest["label"], row["label"]) == ("blue", "red")
    assert {"label": "red", "probability": row["probability"]} in prediction["top"]
    assert Path(row["path"]).read_bytes() != Path(likeliest["path"]).read_bytes()


@pytest.mark.parametrize("method", ["grad_cam", "occlusion", "integrated_gradients"])
def test_every_method_can_be_asked_for_and_is_told(run: tuple[Path, Path], tmp_path: Path, method: str) -> None:
    if method == "integrated_gradients":
        pytest.importorskip("captum", reason="integrated gradients are captum's")
    events: list[Event] = []
    explained = explain(run[0] / "bundle", [run[1] / "red" / "003.png"], method=method, out=tmp_path, observe=events.append)
    assert [row["method"] for row in explained.maps] == [method]
    assert not [event for event in events if isinstance(event, Decision)]  # nothing was decided for the user


def test_nothing_that_is_there_is_overwritten(run: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "003.png").write_text("mine")
    images = [run[1] / "red" / "003.png", run[1] / "blue" / "003.png"]
    names = [Path(row["path"]).name for row in explain(run[0], images, out=out).maps]
    again = [Path(row["path"]).name for row in explain(run[0], images, out=out).maps]
    assert names == ["003-2.png", "003-3.png"]
    assert again == ["003-4.png", "003-5.png"]
    assert (out / "003.png").read_text() == "mine"


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_explained(run: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    shutil.copy(run[1] / "red" / "003.png", folder / "b.png")
    (folder / "a.png").write_bytes(b"no image at all")
    explained = explain(run[0], [folder, tmp_path / "missing.png"], out=tmp_path / "out")
    assert [Path(row["source"]).name for row in explained.maps] == ["b.png"]
    assert [(Path(error["source"]).name, error["reason"]) for error in explained.errors] == [
        ("a.png", "not an image"),
        ("missing.png", "No such file or directory"),
    ]
    assert set(explained.to_json()) == {"maps", "errors"}


@pytest.mark.slow
def test_more_images_than_go_through_together_keep_their_order(run: tuple[Path, Path], tmp_path: Path) -> None:
    maps = explain(run[0], [run[1]], out=tmp_path).maps
    assert len(maps) == 42
    assert [row["source"] for row in maps] == sorted(str(path) for path in run[1].rglob("*.png"))
    assert len({row["path"] for row in maps}) == 42


def test_mistakes_of_the_user_are_named(run: tuple[Path, Path], tmp_path: Path) -> None:
    image = [run[1] / "red" / "003.png"]
    with pytest.raises(UnknownName, match="no method called 'gradcam'"):
        explain(run[0], image, method="gradcam", out=tmp_path)
    with pytest.raises(NotSupported, match="attention_rollout does not work for this network"):
        explain(run[0], image, method="attention_rollout", out=tmp_path)
    with pytest.raises(DataError, match="no images were named"):
        explain(run[0], [], out=tmp_path)
    with pytest.raises(DataError, match="neither a run nor a bundle"):
        explain(run[1], image, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_explained_without_a_framework(
    run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise MissingExtra(f"torch (needed to train with {name})", "torch")

    monkeypatch.setattr(engines, "load", missing)
    events: list[Event] = []
    image = [run[1] / "red" / "003.png"]
    (row,) = explain(run[0] / "bundle", image, out=tmp_path, observe=events.append).maps
    assert row["method"] == "occlusion"
    assert [event.reason.split(":")[0] for event in events if isinstance(event, Decision)] == [
        "torch (needed to train with torch) is not installed"
    ]
    with pytest.raises(MissingExtra):
        explain(run[0], image, method="grad_cam", out=tmp_path)


def test_occlusion_of_a_bundle_never_imports_torch(run: tuple[Path, Path], tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from sortal.workflows import explain\n"
        f"explain({str(run[0])!r}, [{str(run[1] / 'red' / '003.png')!r}], method='occlusion', out={str(tmp_path)!r})\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_report_shows_what_the_model_looked_at_when_it_was_wrong_and_what_breaks_it(run: tuple[Path, Path]) -> None:
    events: list[Event] = []
    report(run[0], observe=events.append)
    told = json.loads((run[0] / "report.json").read_text())
    assert told["mistakes"], "the first image of each class looks like nothing"
    assert set(told["maps"]) == {mistake["source"] for mistake in told["mistakes"]}
    for source, shown in told["maps"].items():
        kind, _, data = shown["map"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (192, 192)
        assert shown["fold"] is None
        assert len(shown["nearest"]) == 3
        for near in shown["nearest"]:
            assert near["source"] != source
            assert near["label"] == near["source"].split("/")[0]
            assert -1 <= near["similarity"] <= 1
        similar = [near["similarity"] for near in shown["nearest"]]
        assert similar == sorted(similar, reverse=True)

    rows = told["robustness"]
    assert (rows[0]["corruption"], rows[0]["strength"]) == ("none", 0)
    assert len(rows) == 1 + 5 * len(CORRUPTIONS)
    clean = told["metrics"]["test"]
    assert (rows[0]["accuracy"], rows[0]["images"]) == (clean["accuracy"], clean["images"])
    assert rows[0]["accuracy_interval"] == clean["accuracy_interval"]
    assert {event.what for event in events if isinstance(event, Progress)} >= {"robustness"}
    assert any("of the test split" in event.text for event in events if isinstance(event, Note))

    events.clear()
    report(run[0], observe=events.append)  # what was computed once is kept
    assert {event.what for event in events if isinstance(event, Progress)} & {"robustness", "neighbours"} == set()
    assert json.loads((run[0] / "report.json").read_text()) == told


def test_a_training_is_diagnosed_in_its_first_report(run: tuple[Path, Path]) -> None:
    told = json.loads((run[0] / "report.json").read_text())
    found = {row["kind"]: row for row in told["diagnosis"]}
    assert {"no-augmentation", "too-little-data"} & set(found), found
    for row in found.values():
        assert set(row) == {"kind", "severity", "evidence", "cure", "change"}


@pytest.mark.slow
def test_cross_validated_images_are_broken_by_the_models_that_never_saw_them(coloured: Make, tmp_path: Path) -> None:
    run = train(coloured(), recipe=FROZEN, out=tmp_path / "run").run
    events: list[Event] = []
    report(run.path, observe=events.append)
    told = json.loads(run.report_json.read_text())
    clean = told["metrics"]["cross_validation"]
    assert told["robustness"][0]["images"] == clean["images"]
    # The score's own calibration was fitted on the other folds, which may turn an image on the border.
    assert told["robustness"][0]["accuracy"] == pytest.approx(clean["accuracy"], abs=2 / 36)
    assert any("on 36 cross-validated images" in event.text for event in events if isinstance(event, Note))
    assert {event.what for event in events if isinstance(event, Progress)} & {
        "features",
        "neighbours",
    } == set()  # all is stored
    for shown in told["maps"].values():
        assert len(shown["nearest"]) == 3
        assert shown["fold"] in (0, 1, 2)


def crossed(recipe: Recipe, data: Path, out: Path) -> tuple[Run, Manifest, list[dict[str, str]]]:
    """A cross-validated run, its images, and all its predictions as rows of mistakes: what explains them asks no truth."""
    run = train(data, recipe=recipe, out=out).run
    told = Predictions.load(run.predictions).split("cross_validation")
    said_N = told.probs_NK.argmax(axis=1)
    rows = [
        {"source": source, "split": "cross_validation", "predicted": told.classes[said]}
        for source, said in zip(told.sources, said_N.tolist(), strict=True)
    ]
    return run, Manifest.load(run.manifest).used, rows


@pytest.mark.parametrize("strategy", ["features", pytest.param("last_layers", marks=pytest.mark.slow)])
def test_a_cross_validated_mistake_is_explained_by_the_model_of_its_fold_and_by_images_that_this_one_saw(
    coloured: Make, tmp_path: Path, strategy: str
) -> None:
    recipe = FROZEN.model_copy(update={"strategy": strategy, "learning_rate": 0.02})
    run, used, rows = crossed(recipe, coloured(), tmp_path / "run")
    bundle, recipe, held = Bundle.load(run.bundle), recipes.read(run.recipe), kept(run.held_out)
    assert held is not None
    fold_of = dict(zip(used.sources, used.column("fold"), strict=True))
    row_of = {source: row for row, source in enumerate(used.sources)}
    engine = engines.load("torch")
    with StoredPixels(used, bundle.preprocess, Cache.default()) as pixels:
        pixels.fill()
        told = mistakes_explained(bundle, recipe, rows, used, pixels, Cache.default(), out_of_fold=held)
        assert list(told) == [row["source"] for row in rows[:MOST_MISTAKES]]
        assert {shown["fold"] for shown in told.values()} == {0, 1, 2}
        for source, shown in told.items():
            assert shown["fold"] == fold_of[source]
            assert len(shown["nearest"]) == 3
            for near in shown["nearest"]:
                assert near["source"] != source
                assert fold_of[near["source"]] != fold_of[source]

        said = {row["source"]: bundle.classes.index(row["predicted"]) for row in rows}
        of_bundles = []
        for fold in (0, 1, 2):
            sources = [source for source, shown in told.items() if shown["fold"] == fold]
            of_fold = np.array([row_of[source] for source in sources])
            images = network_pixels(pixels.read(of_fold), bundle.preprocess)
            model = engine.assemble(recipe, bundle.preprocess, 3, held.weights[fold])
            np.testing.assert_allclose(model.logits(images), held.logits_NK[of_fold], atol=1e-3)
            labels = np.array([said[source] for source in sources])
            maps = engine.attribute(model, "grad_cam")(images, labels)
            assert [told[source]["map"] for source in sources] == [
                _address(small(image, heat, MAP_SIDE)) for image, heat in zip(images, maps, strict=True)
            ]
            of_bundles += list(engine.attribute(bundle, "grad_cam")(images, labels) - maps)
        assert max(float(np.abs(each).max()) for each in of_bundles) > 0, "else these could be the maps of the bundle"


@pytest.mark.parametrize("explained_before", [False, True])
def test_what_a_run_of_an_older_version_cannot_show_is_told_and_the_rest_is_reported(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, explained_before: bool
) -> None:
    data = coloured()
    for label, other in (("blue", "green"), ("green", "red"), ("red", "blue")):
        (data / label / "011.png").rename(data / other / "wrong.png")  # so that there are mistakes
    run, _, _ = crossed(FROZEN.model_copy(update={"learning_rate": 0.02}), data, tmp_path / "run")
    held = kept(run.held_out)
    assert held is not None
    np.save(run.held_out.with_suffix(".npy"), held.logits_NK)
    run.held_out.unlink()
    told = json.loads(run.report_json.read_text())
    assert told["mistakes"]
    if explained_before:
        told["maps"] = {told["mistakes"][0]["source"]: {"map": "data:image/jpeg;base64,", "nearest": []}}
        run.report_json.write_text(json.dumps(told))
    monkeypatch.setattr(reporting, "broken_by", lambda *_, **__: ())
    monkeypatch.setattr(reporting, "curve_of", lambda *_, **__: ())
    events: list[Event] = []
    written = report(run.path, observe=events.append)
    assert json.loads(run.report_json.read_text())["maps"] == {}
    assert "Most confident mistakes" in written.report.read_text()
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("neither a map nor nearest images: this run did not keep those models" in note for note in notes), notes


def test_without_maps_inside_the_network_the_patches_of_a_mistake_are_hidden_from_the_model_of_its_fold(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, used, rows = crossed(FROZEN.model_copy(update={"learning_rate": 0.02}), coloured(), tmp_path / "run")
    bundle, recipe, held = Bundle.load(run.bundle), recipes.read(run.recipe), kept(run.held_out)
    assert held is not None
    monkeypatch.setattr(type(engines.load("torch")), "attributions", lambda *_: ())
    (row,) = rows[:1]
    (at,) = (place for place, source in enumerate(used.sources) if source == row["source"])
    with StoredPixels(used, bundle.preprocess, Cache.default()) as pixels:
        pixels.fill()
        told = mistakes_explained(bundle, recipe, [row], used, pixels, Cache.default(), out_of_fold=held)
        images = network_pixels(pixels.read(np.array([at])), bundle.preprocess)
    model = engines.load("torch").assemble(recipe, bundle.preprocess, 3, held.weights[used.column("fold")[at]])
    graph, calibrate = OnnxGraph(model.graph), of_bundle(bundle)
    label = np.array([bundle.classes.index(row["predicted"])])
    (heat,) = occlusion(lambda some: calibrate(graph.outputs(some)[LOGITS]), images, label)
    shown = told[row["source"]]["map"]
    assert shown == _address(small(images[0], heat, MAP_SIDE))
    (by_bundle,) = occlusion(predictor(bundle), images, label)
    assert shown != _address(small(images[0], by_bundle, MAP_SIDE))


def test_where_nothing_was_held_out_nothing_is_broken_and_the_reason_is_told(run: tuple[Path, Path], tmp_path: Path) -> None:
    from dataclasses import replace

    from sortal.workflows.breaking import broken_by

    told = Predictions.load(run[0] / "predictions.parquet")
    trained = replace(told, splits_N=("train",) * len(told))
    events: list[Event] = []
    bundle, recipe = Bundle.load(run[0] / "bundle"), recipes.read(run[0] / "recipe.toml")
    used = Manifest.load(run[0] / "manifest.parquet").used
    assert broken_by(bundle, recipe, trained, used, None, Cache.default(), observe=events.append) == ()
    assert [event.text.partition(":")[0] for event in events if isinstance(event, Note)] == ["robustness is left out"]


def test_several_labels_are_explained_by_the_likeliest(patches: Make, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"split": Split(val=0.3), "epochs": 2})
    table = patches()
    run = train(table, recipe=recipe, out=tmp_path / "run").run
    classes = Bundle.load(run.bundle).classes
    maps = explain(run.path, [table.parent / "000.png", table.parent / "001.png"], out=tmp_path / "out").maps
    assert all(row["label"] in classes for row in maps)
    report(run.path)
    told = json.loads(run.report_json.read_text())
    assert told["robustness"][0]["accuracy"] == told["metrics"]["val"]["subset_accuracy"]
    assert set(told["maps"]) <= {mistake["source"] for mistake in told["mistakes"]}


@pytest.mark.slow
def test_a_transformer_is_explained_by_its_attention(coloured: Make, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"model": "test_vit", "image_size": 48, "epochs": 1})
    data = coloured(each=8, side=48)
    run = train(data, recipe=recipe, out=tmp_path / "run").run
    (row,) = explain(run.path, [data / "red" / "003.png"], out=tmp_path / "out").maps
    assert row["method"] == "attention_rollout"
